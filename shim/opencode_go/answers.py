"""What OpenCode Go's answers mean: its model list, and the first words of a turn.

Its status 401 is no proof of a bad key: a model that an endpoint does not serve is told so, too.
What the error says its type is decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ..shown import short
from . import SESSION

Protocol = Literal["chat", "messages"]
PROTOCOLS: tuple[Protocol, ...] = ("chat", "messages")
PATHS: dict[Protocol, str] = {"chat": "/chat/completions", "messages": "/messages"}

#: Nothing that would have to be quoted, in YAML, in a shell or on a terminal.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@+-]{0,119}")
_MOST_MODELS = 300
#: So much of a stream without an event is none.
MOST_BYTES = 64 << 10
_MOST_WORDS = 200
#: Errors about the key or the whole plan, by the type they name.
_KEY = frozenset({"AuthError", "authentication_error"})
_PLAN = frozenset({"CreditsError", "MonthlyLimitError", "UserLimitError"})


class Stop(Exception):
    """Why nothing can be found out at all, in one sentence."""


class Judged(msgspec.Struct, frozen=True):
    """Whether a model answers at an endpoint; ``wait`` is how long it asks to be left alone."""

    verdict: Literal["yes", "no", "unknown"]
    why: str = ""
    wait: float | None = None


def models(raw: bytes) -> tuple[list[str], int]:
    """The ids in a model list, sorted, and how many entries are none that can be used."""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        raise Stop("its model list is not JSON") from None
    rows = data.get("data") if isinstance(data, dict) else None
    if not isinstance(rows, list):
        raise Stop("what it lists are no models: there is no list data")
    if len(rows) > _MOST_MODELS:
        raise Stop(f"it lists {len(rows)} models, which is more than it can sensibly have")
    ids = [row.get("id") if isinstance(row, dict) else None for row in rows]
    good = {id for id in ids if isinstance(id, str) and _ID.fullmatch(id)}
    if not good:
        raise Stop("its model list is empty")
    return sorted(good), sum(not (isinstance(id, str) and id in good) for id in ids)


def ask(model: str, protocol: Protocol) -> dict[str, Any]:
    """The smallest turn that is like an agent's: it streams and offers a tool, which some models
    refuse at the endpoint that is not theirs."""
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    tool = {"name": "note", "description": "Write a note."}
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        "messages": [{"role": "user", "content": "Say OK."}],
    }
    if protocol == "messages":
        return {**body, "max_tokens": 64, "tools": [{**tool, "input_schema": schema}]}
    function = {"type": "function", "function": {**tool, "parameters": schema}}
    return {**body, "tools": [function]}


def headers(key: str, protocol: Protocol, session: str) -> dict[str, str]:
    """The messages endpoint reads the key from ``x-api-key`` only."""
    found = {"user-agent": "interpose", SESSION: session}
    if protocol == "messages":
        return {**found, "x-api-key": key, "anthropic-version": "2023-06-01"}
    return {**found, "authorization": f"Bearer {key}"}


def refusal(status: int, head: Mapping[str, str], raw: bytes) -> Judged:
    """What an answer with an error's status means for the model. Stop where it is not about it."""
    kind, words = error(raw)
    said = f"status {status}" + (f": {words}" if words else "")
    if kind in _KEY or (status in (401, 403) and "api key" in words.lower()):
        raise Stop(f"it refuses the key ({said})")
    if kind in _PLAN or (status == 429 and "UsageLimit" in kind and not kind.startswith("Free")):
        raise Stop(f"the plan has nothing left ({said})")
    if status == 429:
        return Judged("unknown", said, retry_after(head))
    if status >= 500 or status in (408, 409, 425) or 300 <= status < 400:
        return Judged("unknown", said)
    return Judged("no", said)


def first_event(protocol: Protocol, raw: bytes) -> Judged | None:
    """What the beginning of a stream means; None while it says nothing yet."""
    for line in raw.split(b"\n")[:-1]:
        if not line.startswith(b"data:"):
            continue
        event = _json(line[5:].strip())
        if isinstance(event.get("error"), dict) or event.get("type") == "error":
            return refusal(400, {}, line[5:])
        if protocol == "chat" and isinstance(event.get("choices"), list):
            return Judged("yes")
        if protocol == "messages" and event.get("type") == "message_start":
            return Judged("yes")
    if len(raw) >= MOST_BYTES:
        return Judged("no", "its stream has no event that is known")
    return None


def whole(protocol: Protocol, raw: bytes) -> Judged:
    """What an answer means that has ended without such an event: it may be one piece of JSON."""
    answer = _json(raw)
    if isinstance(answer.get("error"), dict):
        return refusal(400, {}, raw)
    good = isinstance(answer.get("choices" if protocol == "chat" else "content"), list)
    return Judged("yes") if good else Judged("no", "it answers with nothing that is known")


def error(raw: bytes) -> tuple[str, str]:
    """(type, words) of an error's body, fit to be shown."""
    data = _json(raw)
    told = data.get("error")
    told = told if isinstance(told, dict) else data
    kind, words = told.get("type"), told.get("message")
    text = words if isinstance(words, str) else ""
    text = " ".join("".join(c if c.isprintable() else " " for c in short(text, 2000)).split())
    return kind if isinstance(kind, str) else "", short(text, _MOST_WORDS)


def retry_after(head: Mapping[str, str]) -> float | None:
    """The seconds that ``Retry-After`` names; a date is no number, and as good as none."""
    given = head.get("retry-after", "").strip()
    return float(given) if re.fullmatch(r"\d{1,9}(\.\d+)?", given) else None


def _json(raw: bytes) -> dict[str, Any]:
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
