"""The items of a Turn as the messages of a Chat Completions request.

Strategy: walk the items once. What the model said (reasoning, text, calls) gathers in one assistant
message; each call is answered right behind it, as providers insist. What cannot be said here is
noted, never dropped in silence. Texts that only pass through are never decoded.
"""

from __future__ import annotations

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

#: Calls that most often have their output right behind them, and its type.
_PAIRS = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
}
#: Items that only bring tools or settings; they are read elsewhere.
_SILENT = frozenset({"additional_tools", "configuration_update"})
_TEXT_PARTS = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})
#: A string, or the JSON of one that nobody had to look into.
Text = str | msgspec.Raw
Fragment = bytes | memoryview
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_string = msgspec.json.Decoder(str).decode
_encode = msgspec.json.encode
_CALL = b'{"id":%b,"type":"function","function":{"name":%b,"arguments":%b}}'
_PAIR = (
    b'{"role":"assistant","content":null,"tool_calls":'
    b'[{"id":%b,"type":"function","function":{"name":%b,"arguments":'
)
_PAIR_OUTPUT = b'}}]},{"role":"tool","tool_call_id":%b,"content":'
_OUTPUT = b'{"role":"tool","tool_call_id":%b,"content":%b}'
#: Chat has no word for a failed output: its text begins so.
_FAILED = b'"[error] '


class Messages:
    """The message list under construction; ``pending`` is the assistant message still open.

    A text is undecoded JSON wherever it only passes through.
    """

    def __init__(self, turn: Turn, bridge: Bridge, target: Target, notes: list[str]) -> None:
        self.done: list[Any] = []
        self._turn = turn
        self._bridge = bridge
        self._provider = target.provider
        self._images = target.images
        self._notes = notes
        self._pending: dict[str, Any] = {}
        self._texts: list[Text] = []
        self._calls: list[tuple[str, bytes]] = []
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
            if kind in _PAIRS and at < end and self._pair(item, kind, items[at]):
                at += 1
            elif kind in OUTPUTS:
                self._output(item)
            elif kind in CALLS:
                self._call(item, kind)
            elif kind in ("message", "agent_message"):
                self._message(item)
            elif kind == "reasoning":
                self._reasoning(item)
            elif kind not in _SILENT:
                self._note_left_out(kind)
        self._flush()

    def _pair(self, call: Item, kind: str, output: Item) -> bool:
        """A call and its output right behind it: most of a long history, put together as bytes."""
        call_id = call.call_id
        if (
            output.type != _PAIRS[kind]
            or not call_id
            or output.call_id != call_id
            or self._calls
            or self._texts
            or self._pending
        ):
            return False
        raw = call.arguments if kind == "function_call" else call.input
        arguments: memoryview | bytes = memoryview(raw)
        text = memoryview(output.output)
        # More than an empty string, and a string.
        if len(arguments) < 3 or arguments[0] != 0x22 or not text.nbytes or text[0] != 0x22:
            return False
        arguments = _freeform(raw) if kind == "custom_tool_call" else _valid(raw)
        self._answered.add(id(output))
        name, quoted = self._name(call, kind), _encode(call_id)
        said = (_FAILED, text[1:]) if output.failed else (text,)
        self.done.append((_PAIR % (quoted, name), arguments, _PAIR_OUTPUT % quoted, *said, b"}"))
        return True

    def encoded(self) -> list[Fragment]:
        """The list as JSON in pieces: a long history is copied once, when they are joined."""
        pieces: list[Fragment] = []
        for message in self.done:
            pieces.append(b"," if pieces else b"[")
            if isinstance(message, tuple):
                pieces += message
            else:
                pieces.append(_encode(message))
        pieces.append(b"]" if pieces else b"[]")
        return pieces

    def system(self, text: str) -> None:
        """Leading instructions share one system message: many templates take no second one."""
        self._flush()
        first = self.done[0] if len(self.done) == 1 else None
        if isinstance(first, dict) and first["role"] == "system":
            first["content"] += f"\n\n{text}"
        else:
            self.done.append({"role": "system", "content": text})

    def _message(self, item: Item) -> None:
        if item.role == "assistant":
            text = self._text(item, item.content)
            if plain(text):
                self._texts.append(text)
        elif item.role in ("developer", "system"):
            text = plain(self._text(item, item.content))
            if item.at > 0 and self._turn.protocol == "messages":
                # Many templates take a system message at the beginning only.
                self._flush()
                reminder = f"<system-reminder>\n{text}\n</system-reminder>"
                self.done.append({"role": "user", "content": reminder})
            else:
                self.system(text)
        else:
            if item.role not in (None, "user"):
                self._note(f"role {item.role} sent as user: no counterpart in Chat Completions")
            self._flush()
            self.done.append({"role": "user", "content": self._content(item, item.content)})

    def _reasoning(self, item: Item) -> None:
        fields, late = unpack(item.encrypted_content, self._provider)
        if not late and (self._texts or self._calls):
            # Reasoning opens the next answer.
            self._flush()
        for name, value in fields.items():
            old = self._pending.get(name)
            joins = isinstance(value, str | list) and isinstance(old, type(value))
            self._pending[name] = old + value if joins else value

    def _call(self, item: Item, kind: str) -> None:
        arguments: bytes | memoryview
        if kind == "custom_tool_call":
            arguments = _freeform(item.input)
        elif kind != "function_call" or not is_text(item.arguments):
            arguments = _encode(bytes(arguments_of(item)).decode())
        elif memoryview(item.arguments).nbytes == 2:
            arguments = b'"{}"'
        else:
            arguments = _valid(item.arguments)
        call_id = item.call_id or item.id or f"call_{len(self.done)}"
        made = _CALL % (_encode(call_id), self._name(item, kind), arguments)
        self._calls.append((call_id, made))

    @cached_property
    def _outputs(self) -> dict[str | None, list[Item]]:
        """The outputs in the conversation by the call they belong to, in order."""
        found: dict[str | None, list[Item]] = {}
        for item in self._items:
            if item.type in OUTPUTS:
                found.setdefault(item.call_id, []).append(item)
        return found

    def _name(self, item: Item, kind: str) -> bytes:
        """The name of a call, as JSON, under which the upstream knows the tool."""
        key = (kind, item.name, item.namespace)
        name = self._names.get(key)
        if name is None:
            fixed = NAMES.get(kind)
            name = _encode(fixed or self._bridge.flat_name(item.name or "", item.namespace))
            self._names[key] = name
        return name

    def _output(self, item: Item) -> None:
        if id(item) in self._answered:
            return
        self._flush()
        if id(item) in self._answered:
            return
        # Its call is gone (a compacted history): providers refuse a tool message without one.
        text, images = self._result(item)
        self._answered.add(id(item))
        said = f"[output of the earlier tool call {item.call_id}]\n{plain(text)}"
        parts = [{"type": "text", "text": said}, *images]
        self.done.append({"role": "user", "content": parts if images else said})

    def _flush(self) -> None:
        """Close the assistant message and put each call's output right behind it."""
        if not (self._pending or self._texts or self._calls):
            return
        text = self._texts[0] if len(self._texts) == 1 else "\n\n".join(map(plain, self._texts))
        said = self._texts or not self._calls
        message: dict[str, Any] = {"role": "assistant", "content": text if said else None}
        thinking = self._pending.pop("content", None)
        if isinstance(thinking, list):
            spoken = [{"type": "text", "text": text}] if self._texts else []
            message["content"] = [*thinking, *spoken]
        message |= self._pending
        calls, only_thoughts = self._calls, not (self._texts or self._calls)
        if calls:
            message["tool_calls"] = msgspec.Raw(b"[%b]" % b",".join([c for _, c in calls]))
        self._pending, self._texts, self._calls = {}, [], []
        if only_thoughts:
            return
        self.done.append(message)
        pictures: list[dict[str, Any]] = []
        for call_id, _ in calls:
            waiting = self._outputs.get(call_id)
            while waiting and id(waiting[0]) in self._answered:
                waiting.pop(0)
            result: Text = "(this call has no output: it was interrupted)"
            if waiting:
                item = waiting.pop(0)
                self._answered.add(id(item))
                result, images = self._result(item)
                pictures += images
                if item.failed:
                    raw = _encode(result) if isinstance(result, str) else bytes(result)
                    result = msgspec.Raw(_FAILED + raw[1:])
            content = _encode(result) if isinstance(result, str) else result
            self.done.append(msgspec.Raw(_OUTPUT % (_encode(call_id), content)))
        if pictures:
            kinds = "images" if all(p["type"] == "image_url" for p in pictures) else "files"
            label = {"type": "text", "text": f"[{kinds} from the tool outputs above]"}
            self.done.append({"role": "user", "content": [label, *pictures]})

    def _result(self, item: Item) -> tuple[Text, list[dict[str, Any]]]:
        if item.type == "tool_search_output":
            tools = value_of(item.tools, f"{self._turn.place(item)}.tools")
            names = [t.get("name") for t in tools or () if isinstance(t, dict)]
            return f"Tools now offered: {', '.join(map(str, names)) or 'none'}", []
        output = output_of(item)
        if is_text(output):
            return output, []
        try:
            content = self._content(item, output)
        except WireError:
            return text_of(item.output), []
        if not isinstance(content, list):
            return content, []
        images = [p for p in content if p["type"] != "text"]
        return "\n".join(plain(p["text"]) for p in content if p["type"] == "text"), images

    def _text(self, item: Item, content: msgspec.Raw) -> Text:
        value = self._content(item, content)
        if not isinstance(value, list):
            return value
        for part in value:
            if part["type"] != "text":
                self._note(f"content {part['type']} left out: only users and tools may send any")
        return "\n".join(
            plain(p["text"]) if "text" in p else f"[{p['type'].removesuffix('_url')}]"
            for p in value
        )

    def _content(self, item: Item, content: msgspec.Raw) -> Text | list[dict[str, Any]]:
        """Plain text where there is nothing but text: not every server takes a list of parts."""
        if is_text(content):
            return content
        if is_absent(content):
            return ""
        parts = [self._part(p) for p in self._turn.parts(item, content)]
        if len(parts) == 1 and parts[0]["type"] == "text":
            only: Text = parts[0]["text"]
            return only
        if any(p["type"] != "text" for p in parts):
            return parts
        return "\n".join(plain(p["text"]) for p in parts)

    def _part(self, part: Part) -> dict[str, Any]:
        kind = part.type
        if kind in _TEXT_PARTS:
            return {"type": "text", "text": part.text if is_text(part.text) else ""}
        if kind == "refusal":
            return {"type": "text", "text": part.refusal if is_text(part.refusal) else ""}
        if kind in ("input_image", "image_url") and is_text(part.image_url):
            if not self._images:
                self._note("image left out: this model takes text only")
                return {"type": "text", "text": "[image left out: this model takes text only]"}
            image: dict[str, Any] = {"url": part.image_url}
            if is_text(part.detail):
                image["detail"] = part.detail
            return {"type": "image_url", "image_url": image}
        if kind == "input_file" and (file := _file(part)):
            return {"type": "file", "file": file}
        if kind == "encrypted_content" and (words := agent_text(part)):
            return {"type": "text", "text": words}
        self._note(f"content {kind} left out: no counterpart in Chat Completions")
        return {"type": "text", "text": f"[{kind} left out: it cannot be sent to this model]"}

    def _note_left_out(self, kind: str) -> None:
        why = "no counterpart in Chat Completions"
        if kind in SERVED:
            why = "what a server's tool found is in the text behind it"
        self._note(f"item {kind or 'without type'} left out: {why}")

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)


def _freeform(text: msgspec.Raw) -> bytes:
    """The input of a custom tool as the arguments of a function: JSON within JSON."""
    inner = b'{"input":%b}' % (text if is_text(text) else b'""')
    return _encode(inner.decode())


def _valid(arguments: msgspec.Raw) -> bytes | memoryview:
    """The arguments of a call as providers insist on them: of what broke off the text is one."""
    text = _string(arguments)
    try:
        _object(text)
    except (msgspec.DecodeError, RecursionError):
        if not is_object(text):
            return _encode(_encode({"input": text}).decode())
    return memoryview(arguments)


def _file(part: Part) -> dict[str, Any] | None:
    """A file as Chat has it; None where it is only an address."""
    data = {name: raw for name in ("file_data", "file_id") if is_text(raw := getattr(part, name))}
    if data and is_text(part.filename):
        data["filename"] = part.filename
    return data or None


def plain(text: Text) -> str:
    """A text that may still be undecoded JSON, decoded."""
    return text if isinstance(text, str) else text_of(text)
