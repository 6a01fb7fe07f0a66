"""A Responses answer of an upstream to canonical events. Source: OpenAI's API reference
(responses/streaming).

Strategy: deltas are passed on as they come; a finished item fills in what no delta told, since some
servers send items whole. Which item an event means, `Items` knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal, TypedDict

import msgspec

from ...turn import (
    Annotation,
    CallDelta,
    CallStart,
    Event,
    Finish,
    KeepAlive,
    Reasoning,
    ReasoningState,
    Refusal,
    Text,
    Usage,
)
from ..decoder import StreamDecoder
from ..errors import event_failure
from ..lenient import Unreadable, count, mapping, name_of, objects, only_objects, text_of
from .items import CALLS, Item, Items
from .read_usage import read_usage

__all__ = ["Decoder", "is_answer"]

_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}
_FAILED = ("failed", "cancelled")


class _PlainDelta(msgspec.Struct, gc=False):
    """A delta of a message's text; every other event fails to decode as one."""

    type: Literal["response.output_text.delta"]
    output_index: int
    delta: str


class _Whole(TypedDict, total=False):
    """What is read of a response in an event that tells of all of it."""

    id: Any
    created_at: Any
    status: Any
    error: Any
    output: Any
    usage: Any
    incomplete_details: Any


class _Snapshot(TypedDict):
    """An event that repeats the whole request, with its tools and instructions."""

    type: Literal[
        "response.created",
        "response.in_progress",
        "response.queued",
        "response.completed",
        "response.incomplete",
    ]
    response: _Whole


_plain = msgspec.json.Decoder(_PlainDelta).decode


class Decoder(StreamDecoder):
    """Bytes of a Responses stream in, canonical events out."""

    decode_long = msgspec.json.Decoder(_Snapshot).decode
    TEXT_EVENT = "response.output_text.delta"
    TEXT_PREFIX = b"event: response.output_text.delta\ndata: "

    def __init__(
        self, seed: Callable[[], str], upstream: str, taken: Callable[[], set[str]]
    ) -> None:
        super().__init__(seed, upstream, taken)
        self._items = Items()
        self._calls = 0
        #: Where the message is that is being told.
        self._message: Any = None
        self._part: tuple[Item, Any] | None = None
        self._usage: Usage | None = None

    @property
    def usage(self) -> Usage | None:
        return self._usage

    @property
    def calls(self) -> int:
        """Also those that the upstream runs itself."""
        return sum(item.kind.endswith("_call") for item in self._items.all)

    def plain_text(self, data: bytes) -> str | None:
        if not self._expects_text:
            return None
        try:
            event = _plain(data)
        except (ValueError, RecursionError):
            return None
        return event.delta if event.output_index == self._message else None

    def _may_expect_text(self) -> bool:
        return self._message is not None

    def _answer(self, data: dict[str, Any], out: list[Event]) -> None:
        self._begin(data, out)
        self._end(data, out, failed=False)

    def _stop(self, out: list[Event]) -> None:
        self._broke_off(out)

    def _event(self, name: str, data: dict[str, Any], out: list[Event]) -> None:
        kind = self._kind(name, data)
        if kind == "error" or (data.get("error") and "response" not in data):
            self._fail(event_failure(data, self._upstream), out, reported=kind == "error")
        elif handler := _HANDLERS.get(kind):
            handler(self, data, out)

    def _begin(self, response: dict[str, Any], out: list[Event]) -> None:
        wire_id = name_of(response.get("id")) or self._seed()
        self._start(wire_id.removeprefix("resp_"), count(response.get("created_at")), out)

    def _created(self, data: dict[str, Any], out: list[Event]) -> None:
        self._begin(mapping(data.get("response")), out)

    def _waits(self, data: dict[str, Any], out: list[Event]) -> None:
        self._created(data, out)
        out.append(KeepAlive())

    def _text(self, data: dict[str, Any], out: list[Event]) -> None:
        self._tell(Text, data, out)

    def _refusal(self, data: dict[str, Any], out: list[Event]) -> None:
        self._tell(Refusal, data, out)

    def _tell(self, kind: type[Text | Refusal], data: dict[str, Any], out: list[Event]) -> None:
        self._start(None, 0, out)
        self._items.of_delta(data, "message").streamed = True
        self._message = data.get("output_index")
        if delta := _delta(data):
            out.append(kind(delta))

    def _reason(self, data: dict[str, Any], out: list[Event]) -> None:
        self._start(None, 0, out)
        item = self._items.of_delta(data, "reasoning")
        part = (item, data.get("summary_index", data.get("content_index")))
        apart = self._part is not None and self._part != part and self._part[0] is item
        item.streamed = True
        self._part = part
        if delta := _delta(data):
            out.append(Reasoning(f"\n\n{delta}" if apart else delta))

    def _annotate(self, data: dict[str, Any], out: list[Event]) -> None:
        out += [Annotation(annotation) for annotation in objects(data.get("annotation"))]

    def _added(self, data: dict[str, Any], out: list[Event]) -> None:
        self._start(None, 0, out)
        self._message = None
        for item in only_objects(data.get("item")):
            known = self._items.added(data, item)
            if known.kind in CALLS:
                self._call(known, item, out)

    def _call(self, call: Item, item: dict[str, Any], out: list[Event]) -> None:
        """A call begins, where its name is there."""
        if call.key is None and (name := name_of(item.get("name"))):
            call.key = self._calls
            self._calls += 1
            wire_id = name_of(item.get("call_id")) or name_of(item.get("id"))
            out.append(CallStart(call.key, self._unique(wire_id, "call", self._calls), name))
            out += [CallDelta(call.key, piece) for piece in call.pieces]

    def _argue(self, data: dict[str, Any], out: list[Event]) -> None:
        if delta := _delta(data):
            self._piece(self._items.of_delta(data, "function_call"), delta, out)

    def _piece(self, call: Item, piece: str, out: list[Event]) -> None:
        call.pieces.append(piece)
        if call.key is not None:
            out.append(CallDelta(call.key, piece))

    def _argued(self, data: dict[str, Any], out: list[Event]) -> None:
        whole = text_of(data.get("arguments"))
        self._fill(self._items.of_delta(data, "function_call"), whole, out)

    def _fill(self, call: Item, whole: str, out: list[Event]) -> None:
        """What the pieces of a call's arguments have not told of ``whole``."""
        streamed = "".join(call.pieces)
        if whole.startswith(streamed):
            if rest := whole[len(streamed) :]:
                self._piece(call, rest, out)
        elif whole and not _alike(streamed, whole):
            raise Unreadable("a call whose arguments lack a piece")

    def _item_done(self, data: dict[str, Any], out: list[Event]) -> None:
        self._start(None, 0, out)
        self._message = None
        for item in only_objects(data.get("item")):
            self._item(self._items.done(data, item), item, out)

    def _item(self, known: Item, item: dict[str, Any], out: list[Event]) -> None:
        """A finished item: what its deltas have not told yet."""
        if known.done:
            return
        known.done = True
        if known.kind == "reasoning":
            if not known.streamed and (text := _thinking(item)):
                out.append(Reasoning(text))
            out.append(ReasoningState({"item": item}))
        elif known.kind == "message":
            content = item.get("content")
            parts = content if isinstance(content, list) else [content]
            for part in [] if known.streamed else parts:
                _say(part, out)
        elif known.kind in CALLS:
            self._call(known, item, out)
            if known.key is None:
                raise Unreadable("a call without a name")
            if known.kind == "custom_tool_call":
                given = {"input": text_of(item.get("input"))}
                self._piece(known, msgspec.json.encode(given).decode(), out)
            else:
                self._fill(known, text_of(item.get("arguments")), out)
        else:
            out.append(KeepAlive())

    def _completed(self, data: dict[str, Any], out: list[Event]) -> None:
        self._created(data, out)
        response = mapping(data.get("response"))
        self._end(response, out, failed=False)

    def _cancelled(self, data: dict[str, Any], out: list[Event]) -> None:
        self._created(data, out)
        response = {**mapping(data.get("response")), "status": "cancelled"}
        self._end(response, out, failed=False)

    def _failed(self, data: dict[str, Any], out: list[Event]) -> None:
        self._created(data, out)
        response = mapping(data.get("response"))
        self._end({"error": data.get("error"), **_without_null(response)}, out, failed=True)

    def _end(self, response: dict[str, Any], out: list[Event], *, failed: bool) -> None:
        self.response = response
        usage = response.get("usage")
        self._usage = read_usage(usage) if isinstance(usage, dict) else None
        status, error = response.get("status"), response.get("error")
        if failed or status in _FAILED or error:
            error = error or {"message": f"the response was {status or 'failed'}"}
            self._fail(event_failure({"error": error}, self._upstream), out, reported=failed)
            return
        output = only_objects(response.get("output"))
        for known, item in zip(self._items.final(output), output, strict=True):
            self._item(known, item, out)
        why = mapping(response.get("incomplete_details")).get("reason")
        reason = _REASONS.get(str(why), "stop")
        if reason == "stop" and any(map(_half, self._items.all)):
            raise Unreadable("a call that has no end")
        if reason == "stop" and self._calls:
            reason = "tool_calls"
        self._finish(out, *([self._usage] if self._usage else []), Finish(reason))


def _delta(data: dict[str, Any]) -> str:
    delta = data.get("delta")
    if isinstance(delta, dict | list):
        raise Unreadable("")
    return text_of(delta)


def _half(item: Item) -> bool:
    """Whether a call has come without its end, and its arguments are not whole either."""
    if item.done or item.kind not in CALLS:
        return False
    return item.key is None or not _alike("".join(item.pieces), "".join(item.pieces))


def _alike(a: str, b: str) -> bool:
    """Whether two texts are the same JSON."""
    try:
        return bool(json.loads(a) == json.loads(b))
    except (ValueError, RecursionError):
        return False


def _without_null(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _thinking(item: dict[str, Any]) -> str:
    parts = objects(item.get("summary") or item.get("content"))
    return "\n\n".join(text_of(part.get("text")) for part in parts)


def _say(part: Any, out: list[Event]) -> None:
    if not isinstance(part, dict):
        part = {"text": part}
    if text := text_of(part.get("text")):
        out.append(Text(text))
    elif refusal := text_of(part.get("refusal")):
        out.append(Refusal(refusal))
    out += [Annotation(annotation) for annotation in objects(part.get("annotations"))]


_HANDLERS: dict[str, Any] = {
    "response.created": Decoder._created,
    "response.queued": Decoder._waits,
    "response.in_progress": Decoder._created,
    "response.output_text.delta": Decoder._text,
    "response.refusal.delta": Decoder._refusal,
    "response.reasoning_summary_text.delta": Decoder._reason,
    "response.reasoning_text.delta": Decoder._reason,
    "response.output_text.annotation.added": Decoder._annotate,
    "response.output_item.added": Decoder._added,
    "response.output_item.done": Decoder._item_done,
    "response.function_call_arguments.delta": Decoder._argue,
    "response.function_call_arguments.done": Decoder._argued,
    "response.completed": Decoder._completed,
    "response.incomplete": Decoder._completed,
    "response.failed": Decoder._failed,
    "response.cancelled": Decoder._cancelled,
}


def is_answer(data: Any) -> bool:
    """Whether decoded JSON is a response; one that failed is an answer too: it says why."""
    if not isinstance(data, dict):
        return False
    return data.get("object") == "response" or isinstance(data.get("output"), list)
