"""The way back of what was masked: secrets in the place of masks, across any cut of a stream.

At most the beginning of a mask is held back, and only where the text so far could become one.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from ..turn import CallDelta, Event, Failure, Finish, KeepAlive, Reasoning, Refusal, Text, Usage

_TEXTS = (Text, Refusal, Reasoning)


class Unmask:
    """What leads back: ``table`` maps masks to secrets, ``names`` the tools' names upstream to the
    client's own."""

    def __init__(self, table: dict[str, str], names: dict[str, str] | None = None) -> None:
        self.table = table
        self.names = names or {}
        ordered = sorted(table, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None
        self._longest = max(map(len, table), default=0)
        self._starts = frozenset(mask[:n] for mask in table for n in range(1, len(mask)))

    def __bool__(self) -> bool:
        return bool(self.table or self.names)

    def whole(self, text: str, *, inside_json: bool = False) -> str:
        """``text`` with every mask's secret; ``inside_json``: as JSON writes it in a string."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda m: self._secret(m[0], inside_json), text)

    def split(self, text: str, *, inside_json: bool) -> tuple[str, str]:
        """(what may leave, what may be the beginning of a mask)."""
        if self._pattern is None:
            return text, ""
        end = 0
        out: list[str] = []
        for match in self._pattern.finditer(text):
            out += [text[end : match.start()], self._secret(match[0], inside_json)]
            end = match.end()
        for at in range(max(end, len(text) - self._longest + 1), len(text)):
            if text[at:] in self._starts:
                return "".join([*out, text[end:at]]), text[at:]
        return "".join([*out, text[end:]]), ""

    def value(self, value: Any, key: str = "") -> Any:
        """Decoded JSON with secrets and names put back; the same object when nothing changed."""
        if isinstance(value, str):
            return self.whole(value, inside_json=key == "arguments")
        if isinstance(value, dict):
            made = {k: self.value(v, k) for k, v in value.items()}
            called = made.get("name")
            if isinstance(called, str) and called in self.names and _is_call(made):
                made["name"] = self.names[called]
            return made if made != value else value
        if isinstance(value, list):
            entries = [self.value(entry, key) for entry in value]
            return entries if entries != value else value
        return value

    def _secret(self, mask: str, inside_json: bool) -> str:
        secret = self.table[mask]
        return json.dumps(secret, ensure_ascii=False)[1:-1] if inside_json else secret


def _is_call(value: dict[str, Any]) -> bool:
    """Whether an object with a name is a tool call of any protocol."""
    kind = value.get("type")
    return kind in ("function_call", "custom_tool_call", "tool_use") or (
        kind is None and "arguments" in value
    )


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
                self._flush(out, but=type(event))
                if text := self._take((type(event), 0), event.text):
                    out.append(type(event)(text))
            elif isinstance(event, CallDelta):
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

    def _flush(
        self, out: list[Event], but: type | None = None, calls: bool = False
    ) -> None:
        """Let go of what is held: other texts, since theirs has ended; calls at the very end."""
        for channel in list(self._held):
            kind, key = channel
            if kind is but or (kind is CallDelta and not calls):
                continue
            text = self._held.pop(channel)
            out.append(CallDelta(key, text) if kind is CallDelta else kind(text))


class UnmaskStream:
    """An answer that passes in its own protocol, with secrets and names put back."""

    def __init__(self, protocol: str, unmask: Unmask) -> None:
        self._unmask = unmask
        self._deltas = _DELTAS[protocol]
        self._rest = b""
        #: Per channel what is held, and the event it came in.
        self._held: dict[Any, tuple[str, dict[str, Any], bytes]] = {}

    def feed(self, data: bytes) -> bytes:
        """What the client gets for a piece of the stream."""
        *events, self._rest = re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)", self._rest + data)
        return b"".join(self._event(event) for event in events if event)

    def close(self) -> bytes:
        """What the client gets at its end."""
        rest, self._rest = self._rest, b""
        last = self._event(rest) if rest else b""
        return last + self._flush(lambda channel: True)

    def whole(self, body: bytes) -> bytes:
        """An answer that is no stream."""
        if body.lstrip()[:1] != b"{":
            return self.feed(body) + self.close()
        try:
            value = msgspec.json.decode(body)
        except msgspec.DecodeError:
            return body
        made = self._unmask.value(value)
        return body if made is value else msgspec.json.encode(made)

    def _event(self, raw: bytes) -> bytes:
        lines = raw.splitlines()
        text = b"\n".join(line[5:].strip() for line in lines if line.startswith(b"data:"))
        name = next((line for line in lines if line.startswith(b"event:")), b"")
        try:
            value = msgspec.json.decode(text) if text[:1] == b"{" else None
        except msgspec.DecodeError:
            value = None
        if not isinstance(value, dict):
            done = text == b"[DONE]"
            return (self._flush(lambda channel: True) if done else b"") + raw
        before = b""
        changed = False
        for channel, box, key, inside_json in self._deltas.places(value):
            held = self._held.pop(channel, ("", {}, b""))[0]
            leaves, holds = self._unmask.split(held + box[key], inside_json=inside_json)
            changed = changed or leaves != box[key]
            box[key] = leaves
            if holds:
                self._held[channel] = (holds, value, name)
        ends = self._deltas.ends(value)
        if ends is not None:
            before = self._flush(ends)
        if not self._deltas.is_delta(value):
            made = self._unmask.value(value)
            changed, value = changed or made is not value, made
        elif self._unmask.names:
            made = _named(value, self._unmask)
            changed, value = changed or made is not value, made
        return before + (_line(name, value) if changed else raw)

    def _flush(self, wanted: Any) -> bytes:
        """Held texts whose channel is ``wanted``, each as one more delta."""
        out = b""
        for channel in [c for c in self._held if wanted(c)]:
            text, value, name = self._held.pop(channel)
            copy = json.loads(json.dumps(value))
            for other, box, key, _ in self._deltas.places(copy):
                box[key] = text if other == channel else ""
            out += _line(name, copy)
        return out


def _line(name: bytes, value: Any) -> bytes:
    head = name + b"\n" if name else b""
    return head + b"data: " + msgspec.json.encode(value) + b"\n\n"


def _named(value: dict[str, Any], unmask: Unmask) -> dict[str, Any]:
    """A chat chunk with the client's own names in the calls that begin in it."""
    made = unmask.value(value) if b'"name"' in msgspec.json.encode(value) else value
    return dict(made) if made is not value else value


class _Responses:
    """Deltas by item and content part; a ``.done`` ends them."""

    def places(self, value: dict[str, Any]) -> list[tuple[Any, dict[str, Any], str, bool]]:
        kind = str(value.get("type"))
        if not kind.endswith(".delta") or not isinstance(value.get("delta"), str):
            return []
        channel = (value.get("output_index"), kind, value.get("content_index"))
        return [(channel, value, "delta", "function_call_arguments" in kind)]

    def is_delta(self, value: dict[str, Any]) -> bool:
        return str(value.get("type")).endswith(".delta")

    def ends(self, value: dict[str, Any]) -> Any:
        kind = str(value.get("type"))
        if kind in ("response.completed", "response.incomplete", "response.failed"):
            return lambda channel: True
        if kind.endswith(".done"):
            at = value.get("output_index")
            return lambda channel: channel[0] == at
        return None


class _Chat:
    """Deltas by choice and field; the finish reason ends them."""

    def places(self, value: dict[str, Any]) -> list[tuple[Any, dict[str, Any], str, bool]]:
        found: list[tuple[Any, dict[str, Any], str, bool]] = []
        for choice in value.get("choices") or ():
            delta = choice.get("delta") if isinstance(choice, dict) else None
            if not isinstance(delta, dict):
                continue
            at = choice.get("index")
            for key in ("content", "reasoning_content", "reasoning", "refusal"):
                if isinstance(delta.get(key), str):
                    found.append(((at, key), delta, key, False))
            for call in delta.get("tool_calls") or ():
                inner = call.get("function") if isinstance(call, dict) else None
                if isinstance(inner, dict) and isinstance(inner.get("arguments"), str):
                    found.append(((at, "call", call.get("index")), inner, "arguments", True))
        return found

    def is_delta(self, value: dict[str, Any]) -> bool:
        return True

    def ends(self, value: dict[str, Any]) -> Any:
        done = {
            c.get("index")
            for c in value.get("choices") or ()
            if isinstance(c, dict) and c.get("finish_reason")
        }
        return (lambda channel: channel[0] in done) if done else None


class _Messages:
    """Deltas by content block; its stop ends them."""

    _KEYS = (("text", False), ("thinking", False), ("partial_json", True))

    def places(self, value: dict[str, Any]) -> list[tuple[Any, dict[str, Any], str, bool]]:
        delta = value.get("delta")
        if value.get("type") != "content_block_delta" or not isinstance(delta, dict):
            return []
        at = value.get("index")
        return [
            ((at, key), delta, key, inside)
            for key, inside in self._KEYS
            if isinstance(delta.get(key), str)
        ]

    def is_delta(self, value: dict[str, Any]) -> bool:
        return value.get("type") == "content_block_delta"

    def ends(self, value: dict[str, Any]) -> Any:
        if value.get("type") == "content_block_stop":
            at = value.get("index")
            return lambda channel: channel[0] == at
        return (lambda channel: True) if value.get("type") == "message_stop" else None


_DELTAS: dict[str, _Responses | _Chat | _Messages] = {
    "responses": _Responses(),
    "chat": _Chat(),
    "messages": _Messages(),
}
