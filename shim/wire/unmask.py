"""The way back of what was masked: secrets in the place of masks, across any cut of a stream.

At most the beginning of a mask is held back, and only where the text so far could become one. An
answer that passes in its own protocol is split at blank lines; an event is looked into only where
it could matter, all others pass as they came.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import msgspec

from ..turn import CallDelta, Event, Failure, Finish, KeepAlive, Reasoning, Refusal, Text, Usage
from .masks import Unmask
from .spelled import Spelled
from .sse import BLANK, split

__all__ = ["Unmask", "UnmaskEvents", "UnmaskStream"]

_TEXTS = (Text, Refusal, Reasoning)


class UnmaskEvents:
    """Canonical events with secrets put back, in the pipeline of a translated answer."""

    def __init__(self, unmask: Unmask) -> None:
        self._unmask = unmask
        self._held: dict[tuple[type, int], str] = {}

    def filter(self, events: list[Event]) -> list[Event]:
        """``events``, with the beginnings of masks held back."""
        if not self._unmask.table:
            return events
        out: list[Event] = []
        for event in events:
            if isinstance(event, _TEXTS):
                if self._held and event.text:
                    self._flush(out, but=type(event))
                if text := self._take((type(event), 0), event.text):
                    out.append(type(event)(text))
            elif isinstance(event, CallDelta):
                self._flush(out)
                if text := self._take((CallDelta, event.key), event.arguments):
                    out.append(CallDelta(event.key, text))
            else:
                if not isinstance(event, KeepAlive | Usage):
                    self._flush(out, calls=isinstance(event, Finish | Failure))
                out.append(event)
        return out

    def _take(self, channel: tuple[type, int], text: str) -> str:
        calls = channel[0] is CallDelta
        leaves, held = self._unmask.split(self._held.pop(channel, "") + text, inside_json=calls)
        if held:
            self._held[channel] = held
        return leaves

    def _flush(self, out: list[Event], but: type | None = None, calls: bool = False) -> None:
        """Let go of what is held: other texts, since theirs has ended; calls at the very end."""
        for channel in list(self._held):
            kind, key = channel
            if kind is but or (kind is CallDelta and not calls):
                continue
            text = self._held.pop(channel)
            out.append(CallDelta(key, text) if kind is CallDelta else kind(text))


class _Place(NamedTuple):
    """A piece of text in an event: its channel, the object and field it is in, whether it is JSON
    in a string, and how to make the event that says another text there and nothing else."""

    channel: tuple[Any, ...]
    box: dict[str, Any]
    key: str
    inside_json: bool
    saying: Callable[[str], dict[str, Any]]


class UnmaskStream:
    """An answer that passes in its own protocol, with secrets and names put back."""

    def __init__(self, protocol: str, unmask: Unmask | Spelled) -> None:
        self._unmask = unmask
        self._deltas = _DELTAS[protocol]
        self._rest = b""
        #: Per channel what is held, the event's other lines, and how to say it.
        self._held: dict[tuple[Any, ...], tuple[str, bytes, Callable[[str], dict[str, Any]]]] = {}
        self._thoughts: dict[Any, list[str]] = {}

    @property
    def holds(self) -> bool:
        """Whether something is held back."""
        return bool(self._held or self._rest)

    def feed(self, data: bytes) -> bytes:
        """What the client gets for a piece of the stream."""
        found, self._rest = split(self._rest, data)
        return b"".join([self._event(raw) for raw in found])

    def close(self) -> bytes:
        """What the client gets at its end."""
        rest, self._rest = self._rest, b""
        last = self._event(rest, cut=True) if rest else b""
        if self._held and last and not BLANK.search(last[-4:]):
            last += b"\n\n"
        return last + self._flush(_always)

    def whole(self, body: bytes) -> bytes:
        """An answer that is no stream."""
        if body.lstrip()[:1] != b"{":
            return self.feed(body) + self.close()
        try:
            value = msgspec.json.decode(body)
        except (ValueError, RecursionError):
            return body
        if self._deltas is _MESSAGES:
            content = value.get("content")
            for block in content if isinstance(content, list) else ():
                if isinstance(block, dict) and block.get("type") == "thinking":
                    self._unmask.think(block.get("signature"), block.get("thinking"))
        made = self._unmask.value(value)
        return body if made is value else msgspec.json.encode(made)

    def _event(self, raw: bytes, *, cut: bool = False) -> bytes:
        if not (self._held or self._unmask.near(raw) or self._matters(raw)):
            return raw
        lines = raw.splitlines()
        text = b"\n".join(line[5:].strip() for line in lines if line.startswith(b"data:"))
        try:
            value = msgspec.json.decode(text) if text[:1] == b"{" else None
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            ends = cut or text == b"[DONE]"
            return (self._flush(_always) if ends else b"") + raw
        other = b"".join(line + b"\n" for line in lines if line and line[:5] != b"data:")
        return self._of(value, raw, other)

    def _matters(self, raw: bytes) -> bool:
        if self._unmask.names and b'"name"' in raw:
            return True
        thinks = self._unmask.thinks and self._deltas is _MESSAGES
        return thinks and (bool(self._thoughts) or b'"thinking"' in raw)

    def _of(self, value: dict[str, Any], raw: bytes, other: bytes) -> bytes:
        """What becomes of an event."""
        if self._deltas is _MESSAGES:
            self._thinking(value)
        places = self._deltas.places(value)
        ends = self._deltas.ends(value)
        said = {place.channel for place in places if place.box[place.key]}
        before = self._flush(lambda c: c not in said and (ends(c) or self._deltas.is_over(c, said)))
        changed = False
        for channel, box, key, inside_json, saying in places:
            held = self._held.pop(channel, ("", b"", saying))[0]
            leaves, holds = self._unmask.split(held + box[key], inside_json=inside_json)
            if holds and ends(channel):
                leaves, holds = leaves + self._unmask.let_go(holds), ""
            if holds:
                self._held[channel] = (holds, other, saying)
            changed = changed or leaves != box[key]
            box[key] = leaves
        if not places:
            made = self._unmask.value(value)
            changed, value = changed or made is not value, made
        elif self._unmask.names and self._deltas is _CHAT:
            changed = _renamed(value, self._unmask.names) or changed
        return before + (_lines(other, value) if changed else raw)

    def _flush(self, wanted: Callable[[tuple[Any, ...]], bool]) -> bytes:
        """Held texts whose channel is ``wanted``, each as one more delta."""
        out = b""
        for channel in [c for c in self._held if wanted(c)]:
            text, other, saying = self._held.pop(channel)
            out += _lines(other, saying(self._unmask.let_go(text)))
        return out

    def _thinking(self, value: dict[str, Any]) -> None:
        """Collect a signed thought as the upstream writes it."""
        at, kind, delta = _at(value), value.get("type"), value.get("delta")
        if kind == "content_block_start":
            block = value.get("content_block")
            if isinstance(block, dict) and block.get("type") == "thinking":
                self._thoughts[at] = [str(block.get("thinking", ""))]
        elif kind == "content_block_stop":
            self._thoughts.pop(at, None)
        elif at in self._thoughts and isinstance(delta, dict):
            if isinstance(delta.get("thinking"), str):
                self._thoughts[at].append(delta["thinking"])
            if "signature" in delta:
                self._unmask.think(delta["signature"], "".join(self._thoughts[at]))


def _at(value: dict[str, Any], name: str = "index") -> str:
    """Which part of an answer is meant; upstreams number parts by anything."""
    return str(value.get(name))


def _lines(other: bytes, value: Any) -> bytes:
    return other + b"data: " + msgspec.json.encode(value) + b"\n\n"


def _never(channel: tuple[Any, ...]) -> bool:
    return False


def _always(channel: tuple[Any, ...]) -> bool:
    return True


class _Responses:
    """Deltas by item and part; a ``.done`` ends them."""

    def places(self, value: dict[str, Any]) -> list[_Place]:
        kind = str(value.get("type"))
        if not kind.endswith(".delta") or not isinstance(value.get("delta"), str):
            return []
        part = value.get("content_index", value.get("summary_index"))
        channel = (_at(value, "output_index"), kind, str(part))

        def saying(text: str) -> dict[str, Any]:
            said = {k: v for k, v in value.items() if k != "obfuscation"}
            return {**said, "delta": text, **({"logprobs": []} if "logprobs" in said else {})}

        return [_Place(channel, value, "delta", "arguments" in kind, saying)]

    def ends(self, value: dict[str, Any]) -> Callable[[tuple[Any, ...]], bool]:
        kind, at = str(value.get("type")), _at(value, "output_index")
        if kind in ("response.completed", "response.incomplete", "response.failed", "error"):
            return _always
        return (lambda channel: channel[0] == at) if kind.endswith(".done") else _never

    def is_over(self, channel: tuple[Any, ...], said: set[tuple[Any, ...]]) -> bool:
        return False


class _Chat:
    """Deltas by choice and field; the finish reason ends them."""

    def places(self, value: dict[str, Any]) -> list[_Place]:
        found: list[_Place] = []
        for choice, delta in _choices(value):
            at = choice.get("index")
            for key in ("content", "reasoning_content", "reasoning", "refusal"):
                if isinstance(delta.get(key), str):
                    say = partial(_chunk, value, at, partial(_field, key))
                    found.append(_Place((_at(choice), key), delta, key, False, say))
            for call, inner in _called(delta):
                if isinstance(inner.get("arguments"), str):
                    number = call.get("index")
                    say = partial(_chunk, value, at, partial(_piece, number))
                    channel = (_at(choice), "call", _at(call))
                    found.append(_Place(channel, inner, "arguments", True, say))
        return found

    def ends(self, value: dict[str, Any]) -> Callable[[tuple[Any, ...]], bool]:
        if value.get("error"):
            return _always
        done = [_at(c) for c, _ in _choices(value) if c.get("finish_reason")]
        return (lambda channel: channel[0] in done) if done else _never

    def is_over(self, channel: tuple[Any, ...], said: set[tuple[Any, ...]]) -> bool:
        """A text is over where its choice goes on with something else; calls may alternate."""
        return channel[1] != "call" and any(other[0] == channel[0] for other in said)


def _chunk(
    value: dict[str, Any], at: Any, made: Callable[[str], dict[str, Any]], text: str
) -> dict[str, Any]:
    """A chunk like ``value`` in which choice ``at`` says ``text``."""
    said = {"index": at, "delta": made(text), "finish_reason": None}
    return {**{k: v for k, v in value.items() if k != "usage"}, "choices": [said]}


def _field(key: str, text: str) -> dict[str, Any]:
    return {key: text}


def _piece(number: Any, text: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": number, "function": {"arguments": text}}]}


def _renamed(value: dict[str, Any], names: dict[str, str]) -> bool:
    """Give the calls that begin in a chunk the client's own names; whether there were any."""
    changed = False
    for _, delta in _choices(value):
        for _, inner in _called(delta):
            called = inner.get("name")
            if isinstance(called, str) and called in names:
                inner["name"], changed = names[called], True
    return changed


def _choices(value: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    choices = value.get("choices")
    found = [c for c in choices if isinstance(c, dict)] if isinstance(choices, list) else []
    return [(c, d if isinstance(d := c.get("delta"), dict) else {}) for c in found]


def _called(delta: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    calls = delta.get("tool_calls")
    found = [c for c in calls if isinstance(c, dict)] if isinstance(calls, list) else []
    return [(c, f) for c in found if isinstance(f := c.get("function"), dict)]


class _Messages:
    """Deltas by content block; its stop ends them."""

    _KEYS = (("text", False), ("thinking", False), ("partial_json", True))

    def places(self, value: dict[str, Any]) -> list[_Place]:
        delta = value.get("delta")
        if value.get("type") != "content_block_delta" or not isinstance(delta, dict):
            return []
        kind = delta.get("type")

        def saying(key: str, text: str) -> dict[str, Any]:
            return {**value, "delta": {"type": kind, key: text}}

        return [
            _Place((_at(value), key), delta, key, inside, partial(saying, key))
            for key, inside in self._KEYS
            if isinstance(delta.get(key), str)
        ]

    def ends(self, value: dict[str, Any]) -> Callable[[tuple[Any, ...]], bool]:
        kind, at = value.get("type"), _at(value)
        if kind in ("message_stop", "error"):
            return _always
        if kind == "content_block_stop":
            return lambda channel: channel[0] == at
        # A signature closes the thought before it.
        delta = value.get("delta")
        signed = isinstance(delta, dict) and "signature" in delta
        return (lambda channel: channel == (at, "thinking")) if signed else _never

    def is_over(self, channel: tuple[Any, ...], said: set[tuple[Any, ...]]) -> bool:
        return False


_CHAT, _MESSAGES = _Chat(), _Messages()
_DELTAS: dict[str, _Responses | _Chat | _Messages] = {
    "responses": _Responses(),
    "chat": _CHAT,
    "messages": _MESSAGES,
}
