"""The items of a Turn as the message list of a Messages request.

Strategy: walk the items once; what the model said gathers in one assistant message, everything
else in user messages, and a call's output opens the user message right behind its call, as the API
insists. Texts that only pass through are never decoded. Source: Anthropic's API reference.
"""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from typing import Any

import msgspec

from ...json_text import is_object
from ...tools.bridge import Bridge
from ...tools.hosted import CALLS, NAMES, OUTPUTS, SERVED, arguments_of, output_of
from ...turn import Item, Part, Turn, WireError, is_absent, is_text, text_of, value_of
from ..block_text import agent_text
from ..protocols import Target
from ..reasoning import unpack
from .documents import document_of
from .marks import tails

Fragment = bytes | memoryview
Block = tuple[Fragment, ...]

_SILENT = frozenset({"additional_tools", "configuration_update"})
_TEXT_PARTS = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})
_encode = msgspec.json.encode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_string = msgspec.json.Decoder(str).decode
_UNFIT = re.compile(r"[^a-zA-Z0-9_-]")
_DATA = re.compile(r"data:([^;,]*)(?:;[^,]*)?;base64,")
_NO_OUTPUT = b'"(this call has no output: it was interrupted)"'
_EMPTY = b'""'
_OPEN = {role: b'{"role":"%b","content":[' % role for role in (b"user", b"assistant")}
_CALL = b'{"type":"tool_use","id":%b,"name":%b,"input":'
_RESULT = b'{"type":"tool_result","tool_use_id":%b,"content":'


class Messages:
    """The message list under construction. ``thinks`` tells whether the answer under way, whose
    calls were just answered, began with thinking; None where there is no such answer."""

    def __init__(self, turn: Turn, bridge: Bridge, target: Target, notes: list[str]) -> None:
        self.system: list[str] = []
        self.thinks: bool | None = None
        self._turn = turn
        self._bridge = bridge
        self._provider = target.provider
        self._images = target.images
        self._notes = notes
        self._done: list[tuple[bytes, list[Block]]] = []
        self._said: list[Block] = []
        self._calls: list[str | None] = []
        self._thought = False
        self._items: list[Item] = []
        self._answered: set[int] = set()
        self._names: dict[tuple[str, str | None, str | None], bytes] = {}

    def walk(self, items: list[Item]) -> None:
        self._items = items
        at, end = 0, len(items)
        while at < end:
            item = items[at]
            at += 1
            kind = item.type or ("message" if item.role else "")
            if kind == "function_call" and at < end and self._pair(item, items[at]):
                at += 1
            elif kind in CALLS:
                self._call(item, kind)
            elif kind in OUTPUTS:
                self._output(item)
            elif kind in ("message", "agent_message"):
                self._message(item)
            elif kind == "reasoning":
                self._reasoning(item)
            elif kind in SERVED:
                why = "what a server's tool found is in the text behind it"
                self._note(f"item {kind} left out: {why}")
            elif kind not in _SILENT:
                self._note(f"item {kind or 'without type'} left out: no counterpart in Messages")
        self._flush()
        if not self._done or self._done[0][0] != b"user":
            self._done.insert(0, (b"user", [_text(b'"(the conversation so far)"')]))

    def _pair(self, call: Item, output: Item) -> bool:
        """A call and its output right behind it: most of a long history, put together as bytes."""
        call_id, result = call.call_id, output.output
        if (
            output.type != "function_call_output"
            or not call_id
            or output.call_id != call_id
            or output.failed
            or self._said
            or not is_text(result)
            or not is_text(call.arguments)
        ):
            return False
        quoted = _encode(fit_id(call_id))
        self.thinks = False
        self._answered.add(id(output))
        name, given = self._name(call, "function_call"), _input(_string(call.arguments))
        said = (_CALL % (quoted, name), given, b"}")
        if self._done and self._done[-1][0] == b"assistant":
            self._done[-1][1].append(said)
        else:
            self._done.append((b"assistant", [said]))
        self._done.append((b"user", [(_RESULT % quoted, memoryview(result), b"}")]))
        return True

    @property
    def called(self) -> list[str]:
        """The names of the tools that the conversation calls."""
        return list(dict.fromkeys(msgspec.json.decode(name) for name in self._names.values()))

    def mark(self, made: dict[str, str]) -> None:
        """Put cache breakpoints where this turn and the last one end."""
        more = b',"cache_control":%b}' % _encode(made)
        for at in tails([role.decode() for role, _ in self._done]):
            blocks = self._done[at][1]
            *block, end = blocks[-1]
            blocks[-1] = (*block, bytes(end)[:-1] + more)

    def encoded(self) -> list[Fragment]:
        """The list as JSON in pieces: a long history is copied once, when they are joined."""
        pieces: list[Fragment] = []
        for role, (first, *rest) in self._done:
            pieces += (b"," if pieces else b"[", _OPEN[role], *first)
            for block in rest:
                pieces.append(b",")
                pieces += block
            pieces.append(b"]}")
        pieces.append(b"]")
        return pieces

    def _user(self, blocks: list[Block]) -> None:
        """Two user messages in a row are one."""
        if self._done and self._done[-1][0] == b"user":
            self._done[-1][1].extend(blocks)
        elif blocks:
            self._done.append((b"user", blocks))

    def _message(self, item: Item) -> None:
        if item.role == "assistant":
            self._said += self._content(item, item.content)
            return
        self._flush()
        if item.role in ("system", "developer"):
            said = "\n".join(self._texts(item))
            if not self._done:
                self.system.append(said)
            elif said:
                # The list knows no third role: later instructions are marked as what they are.
                marked = f"<system-reminder>\n{said}\n</system-reminder>"
                self._user([_text(_encode(marked))])
        else:
            if item.role not in (None, "user"):
                self._note(f"role {item.role} sent as user: no counterpart in Messages")
            self._user(self._content(item, item.content))
            self.thinks = None

    def _reasoning(self, item: Item) -> None:
        fields, _ = unpack(item.encrypted_content, self._provider)
        blocks = fields.get("blocks")
        for block in blocks if isinstance(blocks, list) else ():
            self._thought = self._thought or not self._said
            self._said.append((_encode(block),))

    def _call(self, item: Item, kind: str) -> None:
        if kind == "custom_tool_call":
            given = b'{"input":%b}' % (item.input if is_text(item.input) else _EMPTY)
        elif kind == "function_call":
            given = _input(text_of(item.arguments))
        else:
            given = bytes(arguments_of(item))
        call_id = item.call_id or item.id or f"call_{len(self._done)}_{len(self._calls)}"
        name = self._name(item, kind)
        head = _CALL % (_encode(fit_id(call_id)), name)
        self._said.append((head, given, b"}"))
        self._calls.append(call_id)

    def _name(self, item: Item, kind: str) -> bytes:
        key = (kind, item.name, item.namespace)
        name = self._names.get(key)
        if name is None:
            fixed = NAMES.get(kind)
            name = _encode(fixed or self._bridge.flat_name(item.name or "", item.namespace))
            self._names[key] = name
        return name

    @cached_property
    def _outputs(self) -> dict[str | None, list[Item]]:
        """The outputs in the conversation by the call they belong to, in order."""
        found: dict[str | None, list[Item]] = {}
        for item in self._items:
            if item.type in OUTPUTS:
                found.setdefault(item.call_id, []).append(item)
        return found

    def _output(self, item: Item) -> None:
        self._flush()
        if id(item) in self._answered:
            return
        # Its call is gone (a compacted history): the API refuses a result without one.
        self._answered.add(id(item))
        head = f"[output of the earlier tool call {item.call_id}]"
        self._user([_text(_encode(head)), *self._result(item)])

    def _flush(self) -> None:
        """Close the assistant message and open a user message with its calls' outputs."""
        said, calls, self._said, self._calls = self._said, self._calls, [], []
        thought, self._thought = self._thought, False
        if not said:
            return
        if calls:
            self.thinks = thought
        if self._done and self._done[-1][0] == b"assistant":
            self._done[-1][1].extend(said)
        else:
            self._done.append((b"assistant", said))
        results: list[Block] = []
        for call_id in calls:
            waiting = self._outputs.get(call_id)
            while waiting and id(waiting[0]) in self._answered:
                waiting.pop(0)
            item = waiting.pop(0) if waiting else None
            results.append(self._tool_result(call_id or "", item))
        self._user(results)

    def _tool_result(self, call_id: str, item: Item | None) -> Block:
        head = _RESULT % _encode(fit_id(call_id))
        if item is None:
            return (head, _NO_OUTPUT, b"}")
        self._answered.add(id(item))
        end = b',"is_error":true}' if item.failed else b"}"
        output = output_of(item)
        if is_text(output):
            return (head, memoryview(output), end)
        pieces: list[Fragment] = [head, b"["]
        for n, block in enumerate(self._result(item)):
            if n:
                pieces.append(b",")
            pieces += block
        return (*pieces, b"]", end)

    def _result(self, item: Item) -> list[Block]:
        if item.type == "tool_search_output":
            tools = value_of(item.tools, f"{self._turn.place(item)}.tools")
            names = [str(t.get("name")) for t in tools or () if isinstance(t, dict)]
            return [_text(_encode(f"Tools now offered: {', '.join(names) or 'none'}"))]
        try:
            return self._content(item, output_of(item))
        except WireError:
            return [_text(_encode(text_of(item.output)))]

    def _content(self, item: Item, content: msgspec.Raw) -> list[Block]:
        if is_text(content):
            return [_text(memoryview(content))] if not _blank(content) else []
        return [block for p in self._read(item, content) if (block := self._part(p))]

    def _texts(self, item: Item) -> list[str]:
        if is_text(item.content):
            return [text_of(item.content)]
        parts = self._read(item, item.content)
        for part in parts:
            if part.type not in _TEXT_PARTS:
                self._note(f"content {part.type} left out: only users and tools may send any")
        return [text_of(p.text) for p in parts if p.type in _TEXT_PARTS]

    def _read(self, item: Item, content: msgspec.Raw) -> list[Part]:
        return [] if is_absent(content) else self._turn.parts(item, content)

    def _part(self, part: Part) -> Block | None:
        kind = part.type
        if kind in _TEXT_PARTS or kind == "refusal":
            text = part.refusal if kind == "refusal" else part.text
            return _text(memoryview(text)) if is_text(text) and not _blank(text) else None
        if kind in ("input_image", "image_url") and is_text(part.image_url):
            if not self._images:
                self._note("image left out: this model takes text only")
                return _text(b'"[image left out: this model takes text only]"')
            return (b'{"type":"image","source":', _source(text_of(part.image_url)), b"}")
        if kind == "input_file" and (document := document_of(part)):
            return (document,)
        if kind == "encrypted_content" and (words := agent_text(part)):
            return _text(_encode(words))
        self._note(f"content {kind} left out: no counterpart in Messages")
        return _text(_encode(f"[{kind} left out: it cannot be sent to this model]"))

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)


def fit_id(call_id: str) -> str:
    """A call id as the API takes it: letters, digits, ``_`` and ``-``."""
    if call_id and not _UNFIT.search(call_id):
        return call_id
    mark = hashlib.blake2b(call_id.encode(), digest_size=4).hexdigest()
    return f"{_UNFIT.sub('_', call_id)}_{mark}"


def _text(text: Fragment) -> Block:
    return (b'{"type":"text","text":', text, b"}")


def _blank(text: msgspec.Raw) -> bool:
    """The API refuses texts of nothing but blanks."""
    view = memoryview(text)
    return view.nbytes < 64 and not text_of(text).strip()


def _input(arguments: str) -> bytes:
    """Arguments as the object the API wants; what is none is handed on as text."""
    try:
        _object(arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        if not is_object(arguments):
            return b'{"input":%b}' % _encode(arguments)
    return (arguments or "{}").encode()


def _source(url: str) -> bytes:
    """An image's URL, also one that holds its data, as a source."""
    if match := _DATA.match(url):
        data: dict[str, Any] = {"type": "base64", "media_type": match[1] or "image/png"}
        return _encode({**data, "data": url[match.end() :]})
    return _encode({"type": "url", "url": url})
