"""Compaction over models that have none: an ordinary turn writes the summary.

Two forms (codex-wire.md section 7, OpenAI's reference of /responses/compact): an endpoint of its
own, and a turn whose input ends with a ``compaction_trigger``. Either gives a ``compaction`` item,
whose ``encrypted_content`` the client sends back in place of what it stands for.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..json_text import load, split
from ..turn import Turn, WireError, is_text
from ..wire.fields import read_body
from ..wire.reasoning import pack
from ..wire.sse import encode as sse
from .expand import OWNER, inner, with_items

#: Asks for the summary; what follows a compaction has nothing else to go on.
PROMPT = (
    "Create a handoff summary of this conversation for another model that will go on with the work "
    "and sees nothing of it but your summary and what the user has said. Do not call tools. State: "
    "what the user wants, with every constraint and preference; what was done and found, with the "
    "names of files, functions and commands, and exact values where they matter; what was decided "
    "and why; what failed; what is left to do, in order. Leave out what no longer matters."
)
#: Bytes of the user's own messages that stay beside a summary; the latest stay.
_MOST_KEPT = 80_000
#: Bytes of an item that is a trigger, at most.
_LONGEST_TRIGGER = 1000
#: Settings that would keep a model from writing plain text, or that only the client's turn has.
_NOT_FOR_SUMMARIES = (
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "text",
    "include",
    "max_output_tokens",
    "stop",
)


class _Head(msgspec.Struct):
    type: str | None = None
    role: str | None = None


_head = msgspec.json.Decoder(_Head).decode


def read_compact(body: bytes) -> Turn:
    """The Turn in a body for ``/responses/compact``; WireError that names the field else."""
    data, own, has_surrogates = read_body(body, "model")
    if "input" not in own and "previous_response_id" not in own:
        raise WireError("the field input is missing", param="input")
    return Turn(data, {"input": msgspec.Raw(b"[]"), **own}, own=own, has_surrogates=has_surrogates)


def is_triggered(turn: Turn) -> bool:
    """Whether ``turn`` only asks for a compaction: its last item is the trigger."""
    raw = turn.fields.get("input", msgspec.Raw())
    if b'"compaction_trigger"' not in bytes(memoryview(raw)[-_LONGEST_TRIGGER:]) or is_text(raw):
        return False
    last = split(raw, "input")[-1:]
    return bool(last) and _type(bytes(last[0])).type == "compaction_trigger"


def summary_turn(turn: Turn) -> Turn:
    """The turn that has the model of ``turn`` write the summary."""
    raw = turn.fields["input"]
    pieces = [inner(raw)]
    if b'"compaction_trigger"' in pieces[0]:
        items = [bytes(item) for item in split(raw, "input")]
        pieces = [item for item in items if _type(item).type != "compaction_trigger"]
    ask = {"type": "message", "role": "user", "content": PROMPT}
    left_out: dict[str, Any] = dict.fromkeys(_NOT_FOR_SUMMARIES)
    return with_items(turn, [*pieces, msgspec.json.encode(ask)], **left_out, stream=False)


def compaction_item(response: dict[str, Any]) -> dict[str, Any] | None:
    """The compaction item for the answer to a `summary_turn`; None when it says nothing."""
    said = [
        part.get("text", "")
        for item in response.get("output", ())
        if item.get("type") == "message"
        for part in item["content"]
    ]
    text = "".join(said).strip()
    if not text:
        return None
    return {
        "id": "cmp_" + str(response["id"]).removeprefix("resp_"),
        "type": "compaction",
        "encrypted_content": pack(OWNER, {"summary": text}),
    }


def compacted(turn: Turn, response: dict[str, Any], item: dict[str, Any]) -> bytes:
    """The answer of ``/responses/compact``: the user's messages in ``turn``, then ``item``."""
    return msgspec.json.encode(
        {
            "id": response["id"],
            "object": "response.compaction",
            "created_at": response["created_at"],
            "output": [*_user_messages(turn), item],
            "usage": response["usage"],
        }
    )


def triggered(response: dict[str, Any], item: dict[str, Any], *, stream: bool) -> bytes:
    """The answer to a turn with a trigger: ``response`` with ``item`` as all of its output."""
    final = {**response, "status": "completed", "incomplete_details": None, "output": [item]}
    if not stream:
        return msgspec.json.encode(final)
    begun = {**final, "status": "in_progress", "output": [], "usage": None}
    events: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        ("response.output_item.added", {"output_index": 0, "item": item}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": final}),
    ]
    return b"".join(
        sse(kind, msgspec.json.encode({"type": kind, "sequence_number": n, **fields}))
        for n, (kind, fields) in enumerate(events)
    )


def _user_messages(turn: Turn) -> list[msgspec.Raw]:
    kept: list[msgspec.Raw] = []
    room = _MOST_KEPT
    for item in reversed(split(b"[%b]" % inner(turn.fields["input"]), "input")):
        head = _type(bytes(item))
        if head.role == "user" and head.type in ("message", None):
            room -= len(bytes(item))
            if room < 0:
                break
            kept.append(item)
    return kept[::-1]


def _type(item: bytes) -> _Head:
    try:
        head: _Head = load(item, "", _head)
    except WireError:
        return _Head()
    return head
