"""Codex rollouts: the items of a conversation in their order, and what happened between them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from ..turn import Usage, is_text, text_of
from .lines import DAMAGED, seconds, stem
from .types import Recipe, Session, Turns, json_object

#: What Codex keeps of an item for itself and sends to OpenAI at most.
_OWN = ("internal_chat_message_metadata_passthrough",)
#: Items that a rollout holds and no request does.
_UNSENT = ("ghost_snapshot", "compaction_trigger", "other")
_COMPACTIONS = ("compaction", "compaction_summary", "context_compaction")
#: How messages of the user begin that Codex wrote itself.
_CONTEXT = ("<environment_context>", "<user_instructions>", "# AGENTS.md instructions")
#: Copies are written in one go: what is later by this many seconds is none.
_GO = 5.0
_TRIGGER = b'{"type":"compaction_trigger"}'

_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NOTHING = msgspec.Raw()


class _Line(msgspec.Struct):
    timestamp: str | None = None
    type: str | None = None
    payload: msgspec.Raw = _NOTHING
    metadata: msgspec.Raw = _NOTHING
    ordinal: int | None = None
    record_type: str | None = None
    role: str | None = None


class _Meta(msgspec.Struct):
    id: str | None = None
    base_instructions: msgspec.Raw = _NOTHING
    history_mode: str | None = None
    subagent_history_start_ordinal: int | None = None


class _Text(msgspec.Struct):
    text: str | None = None


class _Item(msgspec.Struct):
    type: str | None = None
    role: str | None = None


class _Sampled(msgspec.Struct):
    sampled_through_sequence: int | None = None


class _Context(msgspec.Struct):
    model: str | None = None
    turn_id: str | None = None


class _Compacted(msgspec.Struct):
    message: str | None = None
    replacement_history: list[msgspec.Raw] | None = None


class _Tokens(msgspec.Struct, frozen=True):
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_output_tokens: int = 0

    def usage(self) -> Usage:
        return Usage(
            self.input_tokens,
            self.cached_input_tokens,
            self.cache_write_input_tokens,
            self.output_tokens,
            self.reasoning_output_tokens,
        )


class _Counts(msgspec.Struct):
    last_token_usage: _Tokens | None = None
    total_token_usage: _Tokens | None = None


class _Event(msgspec.Struct):
    type: str | None = None
    info: msgspec.Raw = _NOTHING
    num_turns: int = 0
    turn_id: str | None = None


class _Record(msgspec.Struct):
    usage: _Tokens | None = None


class _Said(msgspec.Struct):
    content: msgspec.Raw = _NOTHING


_line = msgspec.json.Decoder(_Line)
_item = msgspec.json.Decoder(_Item)


def read_codex(path: Path, lines: Iterable[tuple[int, bytes]], notes: list[str]) -> list[Session]:
    """The one session of a rollout."""
    reader = _Reader(notes)
    for number, line in lines:
        try:
            reader.read(number, line)
        except DAMAGED as e:
            notes.append(f"line {number}: {e}")
    turns = Turns(reader.recipes)
    return [Session(stem(path), str(path), "codex", "responses", turns, notes)]


class _Reader:
    """The state between two lines of a rollout."""

    def __init__(self, notes: list[str]) -> None:
        self.recipes: list[Recipe] = []
        self._notes = notes
        self._session: str | None = None
        self._fields: dict[str, bytes] = {}
        #: What stands before every history: newer versions send their instructions there.
        self._head: list[bytes] = []
        self._items: list[bytes] = []
        #: Where messages begin that the user wrote.
        self._asked: list[int] = []
        self._when: float | None = None
        #: Whether the last item is of an answer, and what the model saw when it began to answer.
        self._answering = False
        self._sampled: int | None = None
        #: What was counted before the answer that it belongs to.
        self._early: Usage | None = None
        #: Whether the last request's tokens are known, and the first item of its answer that came
        #: only after that.
        self._counted = False
        self._late: int | None = None
        self._total: _Tokens | None = None
        self._records = False
        #: A forked session begins with a copy of another one's lines, whose requests are not its
        #: own; since when they come, and the number of the first line after them.
        self._copying = False
        self._copied: float | None = None
        self._own: int | None = None

    def read(self, number: int, raw: bytes) -> None:
        """One line; a msgspec error where it is damaged."""
        line = _line.decode(raw)
        when = seconds(line.timestamp)
        payload = bytes(line.payload)
        if self._copying:
            later = when is not None and self._copied is not None and when > self._copied + _GO
            counted = line.ordinal is not None and self._own is not None
            if later or (counted and (line.ordinal or 0) >= (self._own or 0)):
                self._copying = False
        if not payload:
            # The first rollouts had no envelopes: an item to a line.
            if line.type and not line.record_type:
                self._item(raw, None, when)
        elif line.type == "response_item":
            sampled = None
            if bytes(line.metadata):
                metadata = msgspec.json.decode(line.metadata, type=_Sampled)
                sampled = metadata.sampled_through_sequence
            self._item(payload, sampled, when)
        elif line.type == "event_msg":
            self._event(msgspec.json.decode(payload, type=_Event))
        elif line.type == "token_usage_record":
            self._records = True
            record = msgspec.json.decode(payload, type=_Record)
            if record.usage:
                self._count(record.usage.usage())
        elif line.type == "turn_context":
            context = msgspec.json.decode(payload, type=_Context)
            self._turn(context.turn_id)
            if context.model:
                self._set("model", context.model)
        elif line.type == "session_meta":
            self._meta(number, msgspec.json.decode(payload, type=_Meta), when)
        elif line.type == "compacted":
            self._compact(number, msgspec.json.decode(payload, type=_Compacted), when)

    def _meta(self, number: int, meta: _Meta, when: float | None) -> None:
        if self._session and meta.id and meta.id != self._session:
            why = "what follows was copied, and its requests are not counted"
            self._notes.append(f"line {number}: forked from session {meta.id}: {why}")
            self._copying = True
            self._copied = when
            return
        self._session = self._session or meta.id
        self._own = meta.subagent_history_start_ordinal
        base = None
        if bytes(meta.base_instructions) not in (b"", b"null"):
            base = msgspec.json.decode(meta.base_instructions, type=_Text).text
        if not base:
            return
        if meta.history_mode is None:
            self._set("instructions", base)
        elif not self._items:
            self._head = [_message("developer", base)]
            self._items = [*self._head]

    def _turn(self, turn: str | None) -> None:
        # Both ids are UUIDs of version 7, which sort by the time they were made.
        if turn and self._session and len(turn) == len(self._session) and turn > self._session:
            self._copying = False

    def _item(self, raw: bytes, sampled: int | None, when: float | None) -> None:
        item = _item.decode(raw)
        kind = item.type or ("message" if item.role else "")
        if not kind or kind in _UNSENT:
            return
        if kind == "reasoning" or kind.endswith("_call") or item.role == "assistant":
            other = sampled is not None and self._sampled is not None and sampled != self._sampled
            if other or not self._answering:
                self._request(len(self._items), self._when or when)
            elif self._counted and self._late is None:
                self._late = len(self._items)
            self._answering = True
            self._sampled = sampled
        else:
            self._answering = False
            self._when = when or self._when
            if item.role == "user" and _by_user(raw):
                self._asked.append(len(self._items))
        self._items.append(_sent(raw))

    def _request(self, end: int, when: float | None, usage: Usage | None = None) -> None:
        """The request that the first ``end`` items are; dict and list are shared with others."""
        if self._copying:
            self._counted = True
            return
        usage = usage or self._early
        self.recipes.append(Recipe(self._fields, "input", self._items, end, when, usage))
        self._early = None
        self._counted = usage is not None
        self._late = None

    def _event(self, event: _Event) -> None:
        self._turn(event.turn_id)
        if event.type == "thread_rolled_back" and event.num_turns > 0:
            kept = self._asked[: -event.num_turns]
            gone = self._asked[-event.num_turns :]
            if gone:
                self._start(self._items[: gone[0]])
                self._asked = kept
        elif event.type == "token_count" and bytes(event.info) and not self._records:
            counts = msgspec.json.decode(event.info, type=_Counts | None) or _Counts()
            last, total = counts.last_token_usage, counts.total_token_usage
            # It comes again with the same numbers whenever a limit is told.
            if last and (total is None or total != self._total):
                self._total = total
                self._count(last.usage())

    def _count(self, usage: Usage) -> None:
        if self._copying:
            return
        last = self.recipes[-1] if self.recipes else None
        if last and last.elements is self._items and not self._counted:
            last.usage = usage
            self._counted = True
        elif self._late is not None:
            # Counted twice with nothing but the model's items between: those were two answers.
            self._request(self._late, self._when, usage)
        else:
            self._early = usage

    def _compact(self, number: int, told: _Compacted, when: float | None) -> None:
        new = told.replacement_history
        by_item = new is not None and any(_item.decode(i).type in _COMPACTIONS for i in new)
        if not by_item:
            why = "the words with which the client asked for the summary are not in the log"
            self._notes.append(f"line {number}: {why}")
        if self._early and self._items:
            # Answers that only made a summary are not always logged, but their tokens are.
            self._items += [_TRIGGER] * by_item
            self._request(len(self._items), self._when or when)
        if new is not None:
            items = [*self._head, *(_sent(bytes(raw)) for raw in new)]
        else:
            # Before there was a replacement: what was said to the model, and the summary.
            items = [raw for raw in self._items if _item.decode(raw).role in ("user", "developer")]
            items.append(_message("user", told.message or ""))
        self._start(items)
        self._asked = [n for n, raw in enumerate(items) if _by_user(raw)]
        self._when = when or self._when

    def _start(self, items: list[bytes]) -> None:
        """Another history, from here on."""
        self._items = items
        self._answering = False
        self._sampled = None
        self._counted = True
        self._late = None
        self._early = None

    def _set(self, name: str, text: str) -> None:
        # Earlier requests hold the dict as it was.
        self._fields = {**self._fields, name: msgspec.json.encode(text)}


def _sent(raw: bytes) -> bytes:
    """An item as it is sent."""
    if not any(name.encode() in raw for name in _OWN):
        return raw
    fields = _raw_fields.decode(raw)
    return json_object({k: bytes(v) for k, v in fields.items() if k not in _OWN})


def _message(role: str, text: str) -> bytes:
    parts = [{"type": "input_text", "text": text}]
    return msgspec.json.encode({"type": "message", "role": role, "content": parts})


def _by_user(raw: bytes) -> bool:
    """Whether an item is a message that the user wrote."""
    if _item.decode(raw).role != "user":
        return False
    content = msgspec.json.decode(raw, type=_Said).content
    try:
        if is_text(content):
            return not text_of(content).startswith(_CONTEXT)
        parts = msgspec.json.decode(content, type=list[_Text])
    except DAMAGED:
        return True
    return not any((part.text or "").startswith(_CONTEXT) for part in parts)
