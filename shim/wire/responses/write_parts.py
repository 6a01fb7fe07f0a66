"""Items of an answer that are still open: what is being said, and tool calls under way."""

from __future__ import annotations

from typing import Any

import msgspec

from ...turn import CallStart, OutputItem
from ..sse import encode as sse

#: What the id of an item begins with; Codex drops ids without such a beginning.
PREFIX = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "tool_search_call": "tsc",
}


class Frame:
    """A delta event with everything in it but its number and its text: many are made per item."""

    def __init__(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "sequence_number": 0, **fields, "delta": ""}
        data = sse(kind, msgspec.json.encode(event))
        self._head, _, rest = data.partition(b'"sequence_number":0')
        self._mid, _, self._end = rest.rpartition(b'"delta":""')

    def fill(self, number: int, delta: str) -> bytes:
        """The event numbered ``number`` that carries ``delta``."""
        text = msgspec.json.encode(delta)
        return b'%b"sequence_number":%d%b"delta":%b%b' % (
            self._head,
            number,
            self._mid,
            text,
            self._end,
        )


#: Per kind of part, its delta event, the field that numbers it, and fields it always has.
_DELTAS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "output_text": ("response.output_text.delta", "content_index", {"logprobs": []}),
    "refusal": ("response.refusal.delta", "content_index", {}),
    "summary_text": ("response.reasoning_summary_text.delta", "summary_index", {}),
}


class Speech:
    """An open reasoning or message item, and its open part."""

    frame: Frame

    def __init__(self, kind: str, index: int, id: str) -> None:
        self.kind, self.index, self.id = kind, index, id
        self.part = ""
        self.parts: list[dict[str, Any]] = []
        self.pieces: list[str] = []
        self.annotations: list[dict[str, Any]] = []

    def begin(self, part: str) -> None:
        """Open the next part, of kind ``part``; "" for an item that has none."""
        self.part, self.pieces, self.annotations = part, [], []
        if part:
            event, number, fixed = _DELTAS[part]
            where = {"item_id": self.id, "output_index": self.index, number: len(self.parts)}
            self.frame = Frame(event, **where, **fixed)

    def content(self) -> dict[str, Any]:
        """The open part as it stands in the item."""
        text = "".join(self.pieces)
        if self.part == "refusal":
            return {"type": "refusal", "refusal": text}
        if self.part == "summary_text":
            return {"type": "summary_text", "text": text}
        return {
            "type": "output_text",
            "text": text,
            "annotations": self.annotations,
            "logprobs": [],
        }


class Call:
    """An open tool call and the pieces of its arguments."""

    def __init__(self, index: int, id: str, start: CallStart, item: OutputItem) -> None:
        self.index, self.id, self.start, self.item = index, id, start, item
        self.pieces: list[str] = []
        self.frame = Frame("response.function_call_arguments.delta", item_id=id, output_index=index)
