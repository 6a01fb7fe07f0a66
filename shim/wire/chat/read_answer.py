"""Chat Completions answers to canonical events. Source: OpenAI's API reference (chat/streaming).

Strategy: one decoder for streams and for whole answers, tolerant of everything providers do: no
``[DONE]``, no index, ids empty or repeated, usage on any chunk, empty ``choices``, content as a
list, reasoning under many names. The end is told once, at ``[DONE]`` or when the stream closes,
since usage may come after ``finish_reason``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from ...turn import (
    Annotation,
    CallDelta,
    CallStart,
    Event,
    Failure,
    Finish,
    KeepAlive,
    Reasoning,
    ReasoningState,
    Refusal,
    Started,
    Text,
    Usage,
)
from ..errors import event_failure
from ..sse import SSEDecoder
from .read_thoughts import Thoughts
from .read_usage import read_usage, tail_usage

__all__ = ["Decoder", "is_answer", "tail_usage"]

_decode = msgspec.json.Decoder().decode
_FINISH = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "eos": "stop",
    "end_turn": "stop",
    "tool_use": "tool_calls",
}


class _PlainDelta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    content: str
    role: str | None = None


class _PlainChoice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    delta: _PlainDelta
    index: Literal[0] = 0
    finish_reason: None = None
    native_finish_reason: None = None
    logprobs: None = None


class _PlainChunk(msgspec.Struct, gc=False):
    """A chunk that says text and nothing else; every other chunk fails to decode as one."""

    choices: tuple[_PlainChoice]
    usage: None = None
    error: None = None
    type: None = None


_plain = msgspec.json.Decoder(_PlainChunk).decode


class Decoder:
    """Bytes of a Chat Completions stream in, canonical events out.

    ``seed`` stands in for missing ids; ``taken`` gives the call ids the conversation has. Both
    cost a walk over the request, so they are asked for only when needed.
    """

    def __init__(
        self, seed: Callable[[], str], upstream: str, taken: Callable[[], set[str]]
    ) -> None:
        self._sse = SSEDecoder()
        self._seed = seed
        self._upstream = upstream
        self._taken = taken
        self._ids: set[str] | None = None
        self._started = False
        self._ended = False
        self._finish: str | None = None
        self._done = False
        self._usage: Usage | None = None
        self._calls: dict[int, str] = {}
        self._wire_ids: dict[int, str] = {}
        self._thought = Thoughts()
        self._spoke = False

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes."""
        out: list[Event] = []
        if data[-2:] == b"\n\n" and self._sse.idle:
            for piece in data[:-2].split(b"\n\n"):
                self._whole(piece, out)
        else:
            self._slowly(data, out)
        return out

    def _whole(self, piece: bytes, out: list[Event]) -> None:
        """One event without its end; a plain text delta, most of most answers, in one step."""
        if self._spoke and not self._ended and piece[:6] == b"data: " and self._sse.idle:
            try:
                (choice,) = _plain(piece[6:]).choices
            except msgspec.DecodeError:
                pass
            else:
                if choice.delta.content:
                    out.append(Text(choice.delta.content))
                return
        self._slowly(piece + b"\n\n", out)

    def _slowly(self, data: bytes, out: list[Event]) -> None:
        for event, payload in self._sse.feed(data):
            self._take(event, payload, out)

    def close(self) -> list[Event]:
        """The events of the stream's end; a Failure if it ended too early."""
        out: list[Event] = []
        for event, payload in self._sse.close():
            self._take(event, payload, out)
        if not self._ended:
            if self._finish is None and not self._done:
                what = "broke off in mid-answer" if self._started else "sent an empty answer"
                self._fail(Failure(f"{self._upstream} {what}", retry=True), out)
            else:
                self._end(out)
        return out

    def whole(self, body: bytes) -> list[Event]:
        """The events of an answer that came as one JSON object."""
        out: list[Event] = []
        self._chunk(_decode(body), out)
        if not self._ended:
            self._done = True
            self._end(out)
        return out

    def _take(self, event: str | None, payload: bytes, out: list[Event]) -> None:
        if self._ended:
            return
        if event is None:
            self._start({}, out)
            out.append(KeepAlive())
        elif payload[:6] == b"[DONE]" or payload.strip() == b"[DONE]":
            self._done = True
            self._end(out)
        else:
            try:
                chunk = _decode(payload)
            except (msgspec.DecodeError, UnicodeDecodeError):
                return
            self._chunk(chunk, out, event == "error")

    def _chunk(self, chunk: Any, out: list[Event], error: bool = False) -> None:
        if not isinstance(chunk, dict):
            return
        if error or chunk.get("error") or chunk.get("type") == "error":
            self._fail(event_failure(chunk, self._upstream), out)
            return
        self._start(chunk, out)
        self._note_usage(chunk)
        for choice in chunk.get("choices") or ():
            if not isinstance(choice, dict) or choice.get("index") not in (0, None):
                continue
            if choice.get("error"):
                self._fail(event_failure(choice, self._upstream), out)
                return
            delta = choice.get("delta") or choice.get("message")
            if isinstance(delta, dict):
                self._delta(delta, out)
            reason = choice.get("finish_reason")
            if isinstance(reason, str) and reason:
                if reason == "error":
                    self._fail(Failure(f"{self._upstream} stopped with an error", retry=True), out)
                    return
                self._finish = _FINISH.get(reason, "stop")

    def _start(self, chunk: dict[str, Any], out: list[Event]) -> None:
        if not self._started:
            self._started = True
            wire_id, created = chunk.get("id"), chunk.get("created")
            out.append(
                Started(
                    wire_id if isinstance(wire_id, str) and wire_id else self._seed(),
                    int(created) if isinstance(created, int | float) else 0,
                )
            )

    def _delta(self, delta: dict[str, Any], out: list[Event]) -> None:
        content = delta.get("content")
        if isinstance(content, str) and len(delta) == 1 + ("role" in delta):
            # Nothing but text: most deltas of most answers.
            if content:
                if not self._spoke:
                    self._speak(out)
                out.append(Text(content))
            return
        if thought := self._thought.take(delta):
            self._spoke = False
            out.append(Reasoning(thought))
        if isinstance(content, list):
            content = "".join(
                p.get("text") or ""
                for p in content
                if isinstance(p, dict) and p.get("type") in ("text", "output_text")
            )
        if isinstance(content, str) and content:
            self._speak(out)
            out.append(Text(content))
        if isinstance(refusal := delta.get("refusal"), str) and refusal:
            self._speak(out)
            out.append(Refusal(refusal))
        for annotation in delta.get("annotations") or ():
            if isinstance(annotation, dict):
                out.append(Annotation(annotation))
        for n, call in enumerate(delta.get("tool_calls") or ()):
            if isinstance(call, dict):
                self._call(call, n, out)
        if isinstance(old := delta.get("function_call"), dict):
            self._call({"index": 0, "function": old}, 0, out)

    def _speak(self, out: list[Event]) -> None:
        """Thinking ends where speaking begins: what it leaves behind belongs before."""
        if state := self._thought.drain():
            out.append(ReasoningState(state, late=self._spoke))
        self._spoke = True

    def _call(self, call: dict[str, Any], position: int, out: list[Event]) -> None:
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        name, wire_id = function.get("name") or "", call.get("id") or ""
        key = call.get("index")
        if not isinstance(key, int):
            # No index: a new id is a new call, no id continues the last one.
            same = [k for k, v in self._wire_ids.items() if wire_id and v == wire_id]
            fresh = wire_id or (name and position >= len(self._calls))
            key = same[0] if same else len(self._calls) if fresh else max(self._calls, default=0)
        elif name and wire_id and self._wire_ids.get(key, wire_id) != wire_id:
            # Some servers send every parallel call with index 0.
            same = [k for k, v in self._wire_ids.items() if v == wire_id]
            key = same[0] if same else max(self._calls) + 1
        if key not in self._calls:
            if not name:
                return
            self._speak(out)
            self._wire_ids[key] = wire_id
            self._calls[key] = self._unique(wire_id, key)
            out.append(CallStart(key, self._calls[key], name))
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        if arguments:
            out.append(CallDelta(key, arguments))

    def _unique(self, wire_id: str, key: int) -> str:
        """An id the client has not seen in this thread: providers repeat ``0`` or ``call_0``."""
        if self._ids is None:
            self._ids = self._taken()
        made = wire_id or f"call_{self._seed()}_{key}"
        if made in self._ids:
            made = f"{made}_{self._seed()[:8]}_{key}"
        self._ids.add(made)
        return made

    def _note_usage(self, chunk: dict[str, Any]) -> None:
        usage = chunk.get("usage")
        if isinstance(usage, dict) and usage:
            self._usage = read_usage(usage)

    def _end(self, out: list[Event]) -> None:
        self._ended = True
        self._start({}, out)
        self._speak(out)
        if self._usage:
            out.append(self._usage)
        reason = self._finish or "stop"
        if self._calls and reason == "stop":
            reason = "tool_calls"
        out.append(Finish(reason))

    def _fail(self, failure: Failure, out: list[Event]) -> None:
        self._ended = True
        out.append(failure)


def is_answer(data: Any) -> bool:
    """Whether decoded JSON is a chat completion."""
    return isinstance(data, dict) and not data.get("error") and bool(data.get("choices"))
