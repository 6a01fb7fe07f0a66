"""Canonical events to a Responses stream. Sources: codex-wire.md section 5, OpenAI's reference.

Strategy: at most one item that speaks (reasoning or message) is open, and each is done before the
next one begins, since clients keep items in the order in which they are done; tool calls stay open
until the answer ends, since providers interleave their arguments. ``output_item.done`` is what
Codex acts on, ``response.completed`` closes the turn. The finished items are kept, so the same
encoder also gives the whole response of a request that did not ask for a stream.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ...tools.bridge import Bridge
from ...turn import (
    Annotation,
    CallDelta,
    CallStart,
    CallWhole,
    Event,
    Failure,
    Finish,
    KeepAlive,
    OutputItem,
    Reasoning,
    ReasoningState,
    Refusal,
    Started,
    Text,
    Turn,
    Usage,
)
from ..reasoning import pack
from ..sse import encode as sse
from .errors import bye, error_object, failed_error
from .write_echo import echo
from .write_parts import PREFIX, Call, Speech

_UNFIT = re.compile(r"[^A-Za-z0-9]+")
_encode = msgspec.json.encode


class Encoder:
    """Canonical events in, bytes of a Responses stream out.

    ``codex`` shapes endings for Codex (codex-wire.md section 6); ``provider`` owns the reasoning.
    """

    def __init__(
        self, *, turn: Turn, model: str, provider: str, bridge: Bridge, codex: bool
    ) -> None:
        self._model = model
        self._provider = provider
        self._bridge = bridge
        self._codex = codex
        # Some servers give the same id again; what is stored under it must stay what it was.
        stored = not codex and turn.setting("store", True)
        self._mark = turn.seed[:8] if stored else ""
        self._echo: dict[str, Any] = {} if codex else {"completed_at": None, **echo(turn)}
        self._id = ""
        self._suffix = ""
        self._created = 0
        self._number = 0
        self._output: list[OutputItem | None] = []
        self._open: Speech | None = None
        self._calls: dict[int, Call] = {}
        self.usage: Usage | None = None
        self.failure: Failure | None = None
        self.response: dict[str, Any] | None = None

    @property
    def calls(self) -> int:
        """How many tool calls the answer holds so far."""
        return len(self._calls)

    def encode(self, events: list[Event]) -> bytes:
        """The bytes for ``events``; empty once the response has ended."""
        out: list[bytes] = []
        for event in events:
            if self.response is None:
                _HANDLERS[type(event)](self, event, out)
        return b"".join(out)

    def _send(self, out: list[bytes], kind: str, **fields: Any) -> None:
        fields = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        out.append(sse(kind, _encode(fields)))

    def _snapshot(self, status: str, **more: Any) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "model": self._model,
            "output": [],
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "parallel_tool_calls": True,
            "temperature": None,
            "tool_choice": "auto",
            "tools": [],
            "top_p": None,
            "usage": None,
            **self._echo,
            **more,
        }

    def _started(self, event: Started, out: list[bytes]) -> None:
        self._suffix = (_UNFIT.sub("", event.id) or "0") + self._mark
        self._id, self._created = f"resp_{self._suffix}", event.created
        self._send(out, "response.created", response=self._snapshot("in_progress"))
        self._send(out, "response.in_progress", response=self._snapshot("in_progress"))

    def _keep_alive(self, event: KeepAlive, out: list[bytes]) -> None:
        # A comment would not reset Codex's idle timer; a data event does.
        self._send(out, "response.in_progress", response=self._snapshot("in_progress"))

    def _slot(self) -> int:
        self._output.append(None)
        return len(self._output) - 1

    def _item_id(self, prefix: str, index: int) -> str:
        return f"{prefix}_{self._suffix}{index:02d}"

    def _speak(self, kind: str, part: str, out: list[bytes]) -> Speech:
        if self._open is None or self._open.kind != kind:
            self._hush(out)
            index = self._slot()
            self._open = Speech(kind, index, self._item_id(PREFIX[kind], index))
            item: OutputItem = {"type": kind, "id": self._open.id}
            item |= (
                {"status": "in_progress", "role": "assistant", "content": []}
                if (kind == "message")
                else {"summary": []}
            )
            self._send(out, "response.output_item.added", output_index=index, item=item)
        speech = self._open
        if speech.part != part:
            self._close_part(speech, out)
            speech.begin(part)
            if part:
                self._part_event(speech, "added", out)
        return speech

    def _say(self, kind: str, part: str, text: str, out: list[bytes]) -> None:
        speech = self._open
        if speech is None or speech.part != part:
            speech = self._speak(kind, part, out)
        speech.pieces.append(text)
        out.append(speech.frame.fill(self._number, text))
        self._number += 1

    def _text(self, event: Text, out: list[bytes]) -> None:
        self._say("message", "output_text", event.text, out)

    def _refusal(self, event: Refusal, out: list[bytes]) -> None:
        # Codex drops a message with a refusal part as a whole.
        self._say("message", "output_text" if self._codex else "refusal", event.text, out)

    def _reason(self, event: Reasoning, out: list[bytes]) -> None:
        self._say("reasoning", "summary_text", event.text, out)

    def _annotation(self, event: Annotation, out: list[bytes]) -> None:
        speech = self._speak("message", "output_text", out)
        data = dict(event.data)
        inner = data.pop(str(data.get("type")), None)
        if isinstance(inner, dict):
            data |= inner
        speech.annotations.append(data)
        self._send(
            out,
            "response.output_text.annotation.added",
            item_id=speech.id,
            output_index=speech.index,
            content_index=len(speech.parts),
            annotation_index=len(speech.annotations) - 1,
            annotation=data,
        )

    def _keep_state(self, event: ReasoningState, out: list[bytes]) -> None:
        if self._open is None or self._open.kind != "reasoning":
            # State without readable thinking still has to survive the client's history.
            self._speak("reasoning", "", out)
        self._hush(out, pack(self._provider, event.data, late=event.late))

    def _part_event(self, speech: Speech, what: str, out: list[bytes]) -> None:
        where: dict[str, Any] = {"item_id": speech.id, "output_index": speech.index}
        if speech.kind == "reasoning":
            self._send(
                out,
                f"response.reasoning_summary_part.{what}",
                **where,
                summary_index=len(speech.parts),
                part=speech.content(),
            )
        else:
            self._send(
                out,
                f"response.content_part.{what}",
                **where,
                content_index=len(speech.parts),
                part=speech.content(),
            )

    def _close_part(self, speech: Speech, out: list[bytes]) -> None:
        if not speech.part:
            return
        text = "".join(speech.pieces)
        where: dict[str, Any] = {"item_id": speech.id, "output_index": speech.index}
        if speech.kind == "reasoning":
            self._send(
                out,
                "response.reasoning_summary_text.done",
                **where,
                summary_index=len(speech.parts),
                text=text,
            )
        elif speech.part == "refusal":
            self._send(
                out, "response.refusal.done", **where, content_index=len(speech.parts), refusal=text
            )
        else:
            self._send(
                out,
                "response.output_text.done",
                **where,
                content_index=len(speech.parts),
                text=text,
                logprobs=[],
            )
        self._part_event(speech, "done", out)
        speech.parts.append(speech.content())

    def _hush(self, out: list[bytes], state: str | None = None) -> None:
        """Finish what is being said; ``state`` is what a reasoning item has to carry."""
        speech, self._open = self._open, None
        if speech is None:
            return
        self._close_part(speech, out)
        item: OutputItem = {"type": speech.kind, "id": speech.id}
        if speech.kind == "reasoning":
            item |= {"summary": speech.parts, "encrypted_content": state}
        else:
            item |= {"status": "completed", "role": "assistant", "content": speech.parts}
        self._done(speech.index, item, out)

    def _done(self, index: int, item: OutputItem, out: list[bytes]) -> None:
        self._output[index] = item
        self._send(out, "response.output_item.done", output_index=index, item=item)

    def _call_start(self, event: CallStart, out: list[bytes]) -> None:
        self._hush(out)
        index = self._slot()
        item = self._bridge.call_item(event.name, event.id, "")
        call = Call(index, self._item_id(PREFIX.get(item["type"], "fc"), index), event, item)
        self._calls[event.key] = call
        if "arguments" in item and isinstance(item["arguments"], str):
            item["arguments"] = ""
        self._send(
            out,
            "response.output_item.added",
            output_index=index,
            item={"id": call.id, "status": "in_progress", **item},
        )

    def _call_delta(self, event: CallDelta, out: list[bytes]) -> None:
        call = self._calls[event.key]
        call.pieces.append(event.arguments)
        if call.item["type"] == "function_call":
            out.append(call.frame.fill(self._number, event.arguments))
            self._number += 1

    def _call_whole(self, event: CallWhole, out: list[bytes]) -> None:
        self._calls[event.key].pieces[:] = [event.arguments]

    def _call_done(self, call: Call, out: list[bytes]) -> None:
        item = self._bridge.call_item(call.start.name, call.start.id, "".join(call.pieces))
        where: dict[str, Any] = {"item_id": call.id, "output_index": call.index}
        if item["type"] == "function_call":
            self._send(
                out,
                "response.function_call_arguments.done",
                **where,
                name=item["name"],
                arguments=item["arguments"],
            )
        elif item["type"] == "custom_tool_call":
            self._send(out, "response.custom_tool_call_input.delta", **where, delta=item["input"])
            self._send(out, "response.custom_tool_call_input.done", **where, input=item["input"])
        self._done(call.index, {"id": call.id, "status": "completed", **item}, out)

    def _use(self, event: Usage, out: list[bytes]) -> None:
        self.usage = event

    def _finish(self, event: Finish, out: list[bytes]) -> None:
        self._hush(out)
        if event.reason == "content_filter" and self._codex:
            # Codex would ask six times and show the partial answer each time.
            self._fail(Failure(f"{self._provider} stopped the answer: content_filter"), out)
            return
        for call in sorted(self._calls.values(), key=lambda c: c.index):
            self._call_done(call, out)
        reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(
            event.reason
        )
        # To Codex an incomplete response is a failed turn; what was said so far is worth more.
        whole = reason is None or self._codex
        status = "completed" if whole else "incomplete"
        self.response = self._snapshot(
            status,
            output=[i for i in self._output if i is not None],
            usage=self._usage(),
            **({} if self._codex else {"completed_at": self._created}),
            incomplete_details=None if whole else {"reason": reason},
        )
        self._send(out, f"response.{status}", response=self.response)
        out.append(bye(self._codex))

    def _usage(self) -> dict[str, Any] | None:
        u = self.usage
        if u is None:
            return None
        cached: dict[str, int] = {"cached_tokens": u.cached}
        if u.cache_write:
            cached["cache_write_tokens"] = u.cache_write
        return {
            "input_tokens": u.input,
            "input_tokens_details": cached,
            "output_tokens": u.output,
            "output_tokens_details": {"reasoning_tokens": u.reasoning},
            "total_tokens": u.input + u.output,
        }

    def _fail(self, event: Failure, out: list[bytes]) -> None:
        self.failure = event
        if not self._id:
            self._id = "resp_failed"
        error = failed_error(event) if self._codex else error_object(event)
        self.response = self._snapshot("failed", error=error)
        self._send(out, "response.failed", response=self.response)
        out.append(bye(self._codex))


_HANDLERS: dict[type, Any] = {
    Started: Encoder._started,
    Text: Encoder._text,
    Refusal: Encoder._refusal,
    Reasoning: Encoder._reason,
    ReasoningState: Encoder._keep_state,
    Annotation: Encoder._annotation,
    CallStart: Encoder._call_start,
    CallDelta: Encoder._call_delta,
    CallWhole: Encoder._call_whole,
    Usage: Encoder._use,
    Finish: Encoder._finish,
    KeepAlive: Encoder._keep_alive,
    Failure: Encoder._fail,
}
