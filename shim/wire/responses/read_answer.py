"""A Responses answer of an upstream to canonical events. Source: OpenAI's API reference
(responses/streaming).

Strategy: deltas are passed on as they come; a finished item fills in what no delta told, since some
servers send items whole. What each item has given is kept under its place in the output.
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
)
from ..errors import event_failure
from ..sse import SSEDecoder
from .read_usage import read_usage, tail_usage

__all__ = ["Decoder", "is_answer", "tail_usage"]

_decode = msgspec.json.Decoder().decode
_DELTA = b"event: response.output_text.delta\ndata: "
_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}


class _PlainDelta(msgspec.Struct, gc=False):
    """A delta of a message's text; every other event fails to decode as one."""

    type: Literal["response.output_text.delta"]
    output_index: int
    delta: str


_plain = msgspec.json.Decoder(_PlainDelta).decode


class Decoder:
    """Bytes of a Responses stream in, canonical events out.

    ``seed`` stands in for missing ids; ``taken`` gives the call ids the conversation has.
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
        #: Places in the output whose text, thinking or arguments came as deltas.
        self._told: set[Any] = set()
        self._done: set[Any] = set()
        self._calls: dict[Any, dict[str, Any]] = {}
        self._part: tuple[Any, Any] | None = None

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes."""
        out: list[Event] = []
        if data[-2:] == b"\n\n" and self._sse.idle:
            for piece in data[:-2].split(b"\n\n"):
                self._whole(piece, out)
        else:
            self._slowly(data, out)
        return out

    def close(self) -> list[Event]:
        """The events of the stream's end; a Failure if it ended too early."""
        out: list[Event] = []
        for event, payload in self._sse.close():
            self._take(event, payload, out)
        if not self._ended:
            what = "broke off in mid-answer" if self._started else "sent an empty answer"
            self._fail(Failure(f"{self._upstream} {what}", retry=True), out)
        return out

    def whole(self, body: bytes) -> list[Event]:
        """The events of an answer that came as one JSON object."""
        out: list[Event] = []
        response = _decode(body)
        self._start(response, out)
        self._end(response, out)
        return out

    def _whole(self, piece: bytes, out: list[Event]) -> None:
        """One event without its end; a plain text delta, most of most answers, in one step."""
        if piece.startswith(_DELTA) and self._started and not self._ended and self._sse.idle:
            try:
                event = _plain(piece[len(_DELTA) :])
            except msgspec.DecodeError:
                pass
            else:
                self._told.add(event.output_index)
                if event.delta:
                    out.append(Text(event.delta))
                return
        self._slowly(piece + b"\n\n", out)

    def _slowly(self, data: bytes, out: list[Event]) -> None:
        for event, payload in self._sse.feed(data):
            self._take(event, payload, out)

    def _take(self, event: str | None, payload: bytes, out: list[Event]) -> None:
        if self._ended:
            return
        if event is None:
            self._alive({}, out)
            return
        try:
            data = _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if not isinstance(data, dict):
            return
        kind = data.get("type") or event
        if kind == "error" or (data.get("error") and "response" not in data):
            self._fail(event_failure(data, self._upstream), out)
        elif handler := _HANDLERS.get(kind):
            handler(self, data, out)

    def _response(self, data: dict[str, Any]) -> dict[str, Any]:
        response = data.get("response")
        return response if isinstance(response, dict) else {}

    def _start(self, response: dict[str, Any], out: list[Event]) -> None:
        if not self._started:
            self._started = True
            wire_id, created = response.get("id"), response.get("created_at")
            wire_id = wire_id if isinstance(wire_id, str) and wire_id else self._seed()
            created = int(created) if isinstance(created, int | float) else 0
            out.append(Started(wire_id.removeprefix("resp_"), created))

    def _created(self, data: dict[str, Any], out: list[Event]) -> None:
        self._start(self._response(data), out)

    def _alive(self, data: dict[str, Any], out: list[Event]) -> None:
        self._start(self._response(data), out)
        out.append(KeepAlive())

    def _text(self, data: dict[str, Any], out: list[Event]) -> None:
        self._tell(Text, data, out)

    def _refusal(self, data: dict[str, Any], out: list[Event]) -> None:
        self._tell(Refusal, data, out)

    def _tell(self, kind: type[Text | Refusal], data: dict[str, Any], out: list[Event]) -> None:
        self._start({}, out)
        self._told.add(data.get("output_index"))
        if isinstance(delta := data.get("delta"), str) and delta:
            out.append(kind(delta))

    def _reason(self, data: dict[str, Any], out: list[Event]) -> None:
        self._start({}, out)
        index = data.get("output_index")
        part = (index, data.get("summary_index", data.get("content_index")))
        apart = self._part is not None and self._part != part and self._part[0] == index
        self._told.add(index)
        self._part = part
        if isinstance(delta := data.get("delta"), str) and delta:
            out.append(Reasoning(f"\n\n{delta}" if apart else delta))

    def _annotate(self, data: dict[str, Any], out: list[Event]) -> None:
        if isinstance(annotation := data.get("annotation"), dict):
            out.append(Annotation(annotation))

    def _added(self, data: dict[str, Any], out: list[Event]) -> None:
        item = data.get("item")
        self._start({}, out)
        if isinstance(item, dict):
            self._call(data.get("output_index"), item, out)

    def _call(self, index: Any, item: dict[str, Any], out: list[Event]) -> None:
        if item.get("type") in ("function_call", "custom_tool_call") and index not in self._calls:
            self._calls[index] = {"key": len(self._calls), "custom": "input" in item}
            call_id = self._unique(item.get("call_id") or item.get("id"))
            key = self._calls[index]["key"]
            out.append(CallStart(key, call_id, str(item.get("name"))))

    def _argue(self, data: dict[str, Any], out: list[Event]) -> None:
        index, delta = data.get("output_index"), data.get("delta")
        call = self._calls.get(index)
        if call and isinstance(delta, str) and delta:
            self._told.add(index)
            out.append(CallDelta(call["key"], delta))

    def _item_done(self, data: dict[str, Any], out: list[Event]) -> None:
        item = data.get("item")
        self._start({}, out)
        if isinstance(item, dict):
            self._item(data.get("output_index"), item, out)

    def _item(self, index: Any, item: dict[str, Any], out: list[Event]) -> None:
        """A finished item: what its deltas have not told yet."""
        if index in self._done:
            return
        self._done.add(index)
        kind, told = item.get("type"), index in self._told
        if kind == "reasoning":
            if not told and (text := _thinking(item)):
                out.append(Reasoning(text))
            out.append(ReasoningState({"item": item}))
        elif kind == "message" and not told:
            for part in item.get("content") or ():
                _say(part, out)
        elif kind in ("function_call", "custom_tool_call"):
            self._call(index, item, out)
            key = self._calls[index]["key"]
            if kind == "custom_tool_call":
                given = msgspec.json.encode({"input": item.get("input") or ""}).decode()
                out.append(CallDelta(key, given))
            elif not told and item.get("arguments"):
                out.append(CallDelta(key, str(item["arguments"])))
        elif kind != "message":
            out.append(KeepAlive())

    def _completed(self, data: dict[str, Any], out: list[Event]) -> None:
        response = self._response(data)
        self._start(response, out)
        self._end(response, out)

    def _end(self, response: dict[str, Any], out: list[Event]) -> None:
        if response.get("status") in ("failed", "cancelled") or response.get("error"):
            error = response.get("error") or {"message": f"the response was {response['status']}"}
            self._fail(event_failure({"error": error}, self._upstream), out)
            return
        self._ended = True
        for index, item in enumerate(response.get("output") or ()):
            if isinstance(item, dict):
                self._item(index, item, out)
        if isinstance(usage := response.get("usage"), dict):
            out.append(read_usage(usage))
        details = response.get("incomplete_details")
        why = details.get("reason") if isinstance(details, dict) else None
        reason = _REASONS.get(str(why), "stop")
        out.append(Finish("tool_calls" if reason == "stop" and self._calls else reason))

    def _unique(self, wire_id: Any) -> str:
        """An id the client has not seen in this thread."""
        if self._ids is None:
            self._ids = self._taken()
        made = str(wire_id or f"call_{self._seed()}_{len(self._calls)}")
        if made in self._ids:
            made = f"{made}_{self._seed()[:8]}_{len(self._calls)}"
        self._ids.add(made)
        return made

    def _fail(self, failure: Failure, out: list[Event]) -> None:
        self._ended = True
        out.append(failure)


def _thinking(item: dict[str, Any]) -> str:
    parts = item.get("summary") or item.get("content") or ()
    return "\n\n".join(str(p.get("text") or "") for p in parts if isinstance(p, dict))


def _say(part: Any, out: list[Event]) -> None:
    if not isinstance(part, dict):
        return
    if part.get("text"):
        out.append(Text(str(part["text"])))
    elif part.get("refusal"):
        out.append(Refusal(str(part["refusal"])))
    for annotation in part.get("annotations") or ():
        if isinstance(annotation, dict):
            out.append(Annotation(annotation))


_HANDLERS: dict[str, Any] = {
    "response.created": Decoder._created,
    "response.queued": Decoder._alive,
    "response.in_progress": Decoder._created,
    "response.output_text.delta": Decoder._text,
    "response.refusal.delta": Decoder._refusal,
    "response.reasoning_summary_text.delta": Decoder._reason,
    "response.reasoning_text.delta": Decoder._reason,
    "response.output_text.annotation.added": Decoder._annotate,
    "response.output_item.added": Decoder._added,
    "response.output_item.done": Decoder._item_done,
    "response.function_call_arguments.delta": Decoder._argue,
    "response.completed": Decoder._completed,
    "response.incomplete": Decoder._completed,
    "response.failed": Decoder._completed,
    "response.cancelled": Decoder._completed,
}


def is_answer(data: Any) -> bool:
    """Whether decoded JSON is a response; one that failed is an answer too: it says why."""
    return isinstance(data, dict) and data.get("object") == "response"
