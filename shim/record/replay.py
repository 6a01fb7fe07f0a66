"""Runs recorded exchanges through today's code and policy, offline, and compares byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..policy.schema import Policy
from ..route import choose
from ..turn import WireError
from ..wire.protocols import codec, protocol_of
from ..wire.translate import Translation


class Message(msgspec.Struct, frozen=True):
    """One recorded message: ``headers`` with lower-case names, ``body`` decoded."""

    headers: dict[str, str]
    body: bytes
    path: str = ""
    status: int = 0


class Recorded(msgspec.Struct, frozen=True):
    """One recorded exchange; ``row`` is the comment that the recorder wrote (summary.Row).

    The upstream's half is missing where the turn never went out. ``broke`` says that a connection
    ended before its answer did; ``at`` is when the request came, in seconds since 1970.
    """

    row: dict[str, Any]
    request: Message
    response: Message | None
    upstream_request: Message | None = None
    upstream_response: Message | None = None
    broke: bool = False
    at: float = 0.0

    @property
    def name(self) -> str:
        """The exchange's id."""
        return str(self.row.get("exchange", "?"))


class Difference(msgspec.Struct, frozen=True):
    """Where today's bytes differ from the recorded ones, and how they read around that place."""

    exchange: str
    message: str
    at: int
    recorded: str
    today: str

    def __str__(self) -> str:
        return (
            f"{self.exchange}: {self.message} differs at byte {self.at}\n"
            f"  recorded: {self.recorded}\n  today:    {self.today}"
        )


def replay(
    recorded: Recorded, policy: Policy | None = None, *, default: str | None = None
) -> list[Difference]:
    """What today's code and ``policy`` would do otherwise; without a policy, the recorded route."""
    return list(_replay(recorded, policy, default))


def _replay(recorded: Recorded, policy: Policy | None, default: str | None) -> Iterator[Difference]:
    row, name = recorded.row, recorded.name
    try:
        protocol = protocol_of(recorded.request.path) or "responses"
        turn = codec(protocol).read_request(recorded.request.body)
        if row.get("seed"):
            turn.seed = row["seed"]
        if policy is not None:
            kept = row["route"].get("protocol", "responses")
            route = choose.choose(policy, turn.model, default=default, reverse=kept)
        elif row.get("route"):
            route = msgspec.convert(row["route"], choose.Route)
        else:
            return
        if recorded.upstream_request is None or row.get("edited"):
            # What a policy made of a prompt is tried by `policy diff`.
            return
        translation = Translation(turn, route, codex=bool(row.get("codex")))
        body = translation.request()
    except (WireError, choose.NoRoute, msgspec.ValidationError) as e:
        yield Difference(name, "request", 0, "a turn", str(e))
        return
    yield from _compare(name, "upstream request", recorded.upstream_request.body, body)
    answer = _answer(translation, recorded)
    if answer is not None and recorded.response is not None:
        yield from _compare(name, "answer to the client", recorded.response.body, answer)


def _answer(translation: Translation, recorded: Recorded) -> bytes | None:
    upstream = recorded.upstream_response
    if upstream is None:
        return None
    translator = translation.translator()
    if translation.streams(upstream.status, upstream.headers):
        out = translator.feed(upstream.body)
        return out if recorded.broke else out + translator.close()
    answer = translation.answer(translator, upstream.status, upstream.headers, upstream.body)
    return upstream.body if answer is None or answer.body is None else answer.body


def _compare(name: str, message: str, recorded: bytes, today: bytes) -> Iterator[Difference]:
    if recorded == today:
        return
    pairs = enumerate(zip(recorded, today, strict=False))
    at = next((n for n, (a, b) in pairs if a != b), min(len(recorded), len(today)))
    start = max(0, at - 40)

    def around(data: bytes) -> str:
        return data[start : at + 60].decode("utf-8", "replace").replace("\n", "⏎") or "(nothing)"

    yield Difference(name, message, at, around(recorded), around(today))
