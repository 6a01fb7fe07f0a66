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
    Finish,
    Reasoning,
    ReasoningState,
    Refusal,
    Text,
    Usage,
)
from ..decoder import StreamDecoder
from ..errors import event_failure
from ..lenient import Unreadable, count, name_of, number, objects, only_objects, text_of
from .read_thoughts import Thoughts
from .read_usage import read_usage

__all__ = ["Decoder", "is_answer"]

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


class _Call:
    """A call under way. ``key`` is None until its name is there; ``pieces`` wait for that."""

    __slots__ = ("index", "key", "name", "pieces", "wire_id")

    def __init__(self, index: int | None, wire_id: str) -> None:
        self.index, self.wire_id = index, wire_id
        self.key: int | None = None
        self.name = ""
        self.pieces: list[str] = []


class Decoder(StreamDecoder):
    """Bytes of a Chat Completions stream in, canonical events out."""

    TEXT_FIELD = b'"content":'
    TERMINATOR = b"data: [DONE]\n\n"

    def __init__(
        self, seed: Callable[[], str], upstream: str, taken: Callable[[], set[str]]
    ) -> None:
        super().__init__(seed, upstream, taken)
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._calls: list[_Call] = []
        self._thought = Thoughts()
        self._spoke = False

    @property
    def usage(self) -> Usage | None:
        return self._usage

    @property
    def calls(self) -> int:
        return sum(call.key is not None for call in self._calls)

    def plain_text(self, data: bytes) -> str | None:
        if not self._expects_text:
            return None
        try:
            (choice,) = _plain(data).choices
        except (ValueError, RecursionError):
            return None
        if text := choice.delta.content:
            self._spoke = True
        return text

    def _may_expect_text(self) -> bool:
        return self.started is not None and not self._thought.waits

    def _answer(self, data: dict[str, Any], out: list[Event]) -> None:
        self._event("", data, out)
        if not self.ended:
            self._done(out)

    def _stop(self, out: list[Event]) -> None:
        if self._reason is None:
            self._broke_off(out)
        else:
            self._done(out)

    def _event(self, name: str, data: dict[str, Any], out: list[Event]) -> None:
        if name == "error" or data.get("error") or data.get("type") == "error":
            self._fail(event_failure(data, self._upstream), out, reported=bool(data.get("error")))
            return
        if self.started is None:
            self._start(data.get("id"), count(data.get("created")), out)
        if usage := data.get("usage"):
            self._usage = read_usage(usage) if isinstance(usage, dict) else self._usage
        for choice in only_objects(data.get("choices")):
            index = choice.get("index")
            if (index in (0, None) or (number(index) or 0) <= 0) and not self.ended:
                self._choice(choice, out)

    def _choice(self, choice: dict[str, Any], out: list[Event]) -> None:
        if choice.get("error"):
            self._fail(event_failure(choice, self._upstream), out, reported=False)
            return
        delta = choice.get("delta") or choice.get("message") or choice.get("text")
        if isinstance(delta, dict):
            self._delta(delta, out)
        elif isinstance(delta, list):
            raise Unreadable("")
        elif delta:
            self._say(Text, text_of(delta), out)
        reason = text_of(choice.get("finish_reason") or "")
        if reason == "error":
            self._abort("stopped with an error", out)
        elif reason:
            self._reason = _FINISH.get(reason, "stop")

    def _delta(self, delta: dict[str, Any], out: list[Event]) -> None:
        content = delta.get("content")
        if isinstance(content, str) and len(delta) == 1 + ("role" in delta):
            # Nothing but text: most deltas of most answers.
            self._say(Text, content, out)
            return
        if thought := self._thought.take(delta):
            self._spoke = False
            out.append(Reasoning(thought))
        if isinstance(content, dict | list):
            content = "".join(map(_text_in, content if isinstance(content, list) else [content]))
        self._say(Text, text_of(content), out)
        self._say(Refusal, text_of(delta.get("refusal")), out)
        out += [Annotation(annotation) for annotation in objects(delta.get("annotations"))]
        for n, call in enumerate(only_objects(delta.get("tool_calls"))):
            self._call(call, n, out)
        if isinstance(old := delta.get("function_call"), dict):
            self._call({"index": 0, "function": old}, 0, out)

    def _say(self, kind: type[Text | Refusal], text: str, out: list[Event]) -> None:
        if text:
            if not self._spoke:
                self._speak(out)
            out.append(kind(text))

    def _speak(self, out: list[Event]) -> None:
        """Thinking ends where speaking begins: what it leaves behind belongs before."""
        if state := self._thought.drain():
            out.append(ReasoningState(state, late=self._spoke))
        self._spoke = True

    def _call(self, piece: dict[str, Any], position: int, out: list[Event]) -> None:
        (function,) = only_objects(piece.get("function") or piece.get("custom")) or [{}]
        name, wire_id = name_of(function.get("name")), name_of(piece.get("id"))
        arguments = function.get("arguments", function.get("input"))
        call = self._call_of(number(piece.get("index")), wire_id, name, position)
        if call is None:
            call = _Call(number(piece.get("index")), wire_id)
            self._calls.append(call)
        call.wire_id = call.wire_id or wire_id
        if name and call.key is None:
            self._speak(out)
            call.key, call.name = self.calls, name
            out.append(CallStart(call.key, self._unique(call.wire_id, "call", call.key), name))
        if text := text_of(arguments or ""):
            call.pieces.append(text)
        if call.key is not None:
            out += [CallDelta(call.key, piece) for piece in call.pieces]
            call.pieces.clear()

    def _call_of(self, index: int | None, wire_id: str, name: str, position: int) -> _Call | None:
        """The call that a piece continues; None: it begins one."""
        calls = self._calls
        known = next((c for c in reversed(calls) if wire_id and c.wire_id == wire_id), None)
        if index is None:
            # A new id with a name is a new call; what has neither continues the last one.
            fresh = name and (wire_id or position >= len(calls))
            return known or (None if fresh or not calls else calls[-1])
        last = next((c for c in reversed(calls) if c.index == index), None)
        if last is None:
            return None if name else known
        if not wire_id or last.wire_id == wire_id or last.key is None:
            return last
        # Some servers send every parallel call with index 0.
        return known or (None if name else last)

    def _done(self, out: list[Event]) -> None:
        if any(call.pieces for call in self._calls):
            self._abort("sent the arguments of a call without its name", out)
            return
        self._start(None, 0, out)
        self._speak(out)
        if self._usage:
            out.append(self._usage)
        reason = self._reason or "stop"
        if self.calls and reason == "stop":
            reason = "tool_calls"
        self._finish(out, Finish(reason))


def _text_in(part: Any) -> str:
    """The text of a part of a message's content; `Thoughts` reads the parts that are thoughts."""
    if isinstance(part, str):
        return part
    readable = isinstance(part, dict) and part.get("type") in ("text", "output_text", None)
    return text_of(part.get("text")) if readable else ""


def is_answer(data: Any) -> bool:
    """Whether decoded JSON is a chat completion."""
    return isinstance(data, dict) and not data.get("error") and bool(data.get("choices"))
