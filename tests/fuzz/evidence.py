"""What came of a session: all that left the chain, in both directions, and all that was written."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mitmproxy import http

from shim.exchange.values import Decision, Intake
from tests.fuzz.case import Case, Exchange

Fields = tuple[tuple[bytes, bytes], ...]
_MASK = re.compile(rb"MASKED_[A-Z0-9_]+_[0-9a-f]{12}")


def masks_in(body: bytes) -> list[str]:
    """The masks that stand in a request."""
    return [match.decode() for match in _MASK.findall(body)]


@dataclass(frozen=True)
class Sent:
    """A request as an upstream gets it."""

    host: str
    port: int
    path: bytes
    method: str
    fields: Fields
    body: bytes

    def key(self) -> str:
        """The key that it was sent."""
        named = headers_of(self.fields)
        given = named.get("x-api-key") or named.get("authorization", "").removeprefix("Bearer ")
        return given or "no-key"


@dataclass(frozen=True)
class Got:
    """An answer as a client gets it. ``complete``: its connection was not broken off."""

    status: int
    fields: Fields
    body: bytes
    streamed: bool
    complete: bool

    def header(self, name: str) -> str:
        """The value of a header field; empty where there is none."""
        found = [v for k, v in self.fields if k.lower() == name.encode()]
        return found[-1].decode("latin-1") if found else ""


@dataclass
class Trace:
    """One request on its way. ``raw`` is the upstream's own answer, ``head`` what the client got of
    it before its body. ``admitted``: it was let in; ``sealed``: the whole pipeline let it out.
    """

    exchange: Exchange
    flow: http.HTTPFlow
    body: bytes
    path: str
    intake: Intake | None = None
    decision: Decision | None = None
    admitted: bool = False
    sealed: bool = False
    sent: Sent | None = None
    status: int = 0
    raw: bytes = b""
    streams: bool = False
    head: tuple[int, Fields] | None = None
    got: Got | None = None

    def answer_id(self) -> str:
        """The id of the response that the client got; one that nobody knows without."""
        body = self.got.body if self.got else b""
        found = re.findall(rb'"id":\s*"(resp_[^"\\]{1,80})"', body)
        return found[0].decode("latin-1") if found else "resp_unknown"


@dataclass
class Evidence:
    """``raised`` are exceptions out of hooks, ``left`` what is under way though all has ended;
    ``counted`` are the limits' counters, ``stored`` the stored responses, ``questions`` what the
    classifier was asked."""

    case: Case
    traces: list[Trace] = field(default_factory=list)
    pages: list[Trace] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    questions: list[Any] = field(default_factory=list)
    raised: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    counted: dict[str, tuple[float, float]] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    logged: list[tuple[int, str]] = field(default_factory=list)
    recording: str | None = None
    slowest: tuple[float, str] = (0.0, "")
    folder: Path = Path()

    def row(self, trace: Trace) -> list[dict[str, Any]]:
        """The rows that tell of a request."""
        return [row for row in self.rows if row["exchange"] == trace.flow.id]


def headers_of(fields: Fields) -> dict[str, str]:
    """Header fields by their lower-case names."""
    return {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in fields}


def json_of(body: bytes) -> Any:
    """The value of a body; None where it is no JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
