"""Items of an answer that are still open: what is being said, and tool calls under way."""

from __future__ import annotations

from typing import Any

from ...turn import CallStart, Item

#: What the id of an item begins with; Codex drops ids without such a beginning.
PREFIX = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "tool_search_call": "tsc",
}


class Speech:
    """An open reasoning or message item, and its open part."""

    def __init__(self, kind: str, index: int, id: str) -> None:
        self.kind, self.index, self.id = kind, index, id
        self.part = ""
        self.parts: list[dict[str, Any]] = []
        self.pieces: list[str] = []
        self.annotations: list[dict[str, Any]] = []

    def content(self) -> dict[str, Any]:
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

    def __init__(self, index: int, id: str, start: CallStart, item: Item) -> None:
        self.index, self.id, self.start, self.item = index, id, start, item
        self.pieces: list[str] = []
