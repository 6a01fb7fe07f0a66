"""The canonical vocabulary: a Turn (one request), the events of its answer, and errors.

Items, tools and settings keep the words and shapes of OpenAI's Responses API, since Codex is the
client we must be exact for. Every codec in ``shim/wire`` translates from or to what stands here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import Any

import msgspec

from .json_text import WireError as WireError
from .json_text import load, members, protect_surrogates, split
from .settings import check
from .untranslated import Untranslated

Tool = dict[str, Any]
#: A finished item of an answer, as the client gets it.
OutputItem = dict[str, Any]


class Part(msgspec.Struct, gc=False):
    """One part of a message's content or of an output; ``text`` and the like stay undecoded."""

    type: str | None = None
    text: msgspec.Raw = msgspec.Raw()
    refusal: msgspec.Raw = msgspec.Raw()
    image_url: msgspec.Raw = msgspec.Raw()
    detail: msgspec.Raw = msgspec.Raw()
    filename: msgspec.Raw = msgspec.Raw()
    file_data: msgspec.Raw = msgspec.Raw()
    file_url: msgspec.Raw = msgspec.Raw()
    file_id: msgspec.Raw = msgspec.Raw()
    encrypted_content: msgspec.Raw = msgspec.Raw()


_parts = msgspec.json.Decoder(list[Part]).decode


class Item(msgspec.Struct, gc=False):
    """One item of a turn's input. What may be long stays undecoded JSON until somebody needs it.

    Fields that no codec needs are not kept here; they are still in the turn's own bytes.
    """

    type: str | None = None
    role: str | None = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    status: str | None = None
    content: msgspec.Raw = msgspec.Raw()
    arguments: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
    action: msgspec.Raw = msgspec.Raw()
    output: msgspec.Raw = msgspec.Raw()
    encrypted_content: msgspec.Raw = msgspec.Raw()
    tools: msgspec.Raw = msgspec.Raw()
    reasoning: msgspec.Raw = msgspec.Raw()
    summary: msgspec.Raw = msgspec.Raw()
    operation: msgspec.Raw = msgspec.Raw()
    #: A tool output that is an error; only Anthropic's Messages say so.
    failed: bool = False
    #: The client's message that it is of, from 0, where clients send messages.
    at: int = -1


class _Whole(Item, gc=False, forbid_unknown_fields=True):
    """An item with nothing in it that is not read, or known to be for its own provider only."""

    phase: msgspec.Raw = msgspec.Raw()
    author: msgspec.Raw = msgspec.Raw()
    recipient: msgspec.Raw = msgspec.Raw()
    created_by: msgspec.Raw = msgspec.Raw()
    execution: msgspec.Raw = msgspec.Raw()
    pending_safety_checks: msgspec.Raw = msgspec.Raw()
    acknowledged_safety_checks: msgspec.Raw = msgspec.Raw()
    internal_chat_message_metadata_passthrough: msgspec.Raw = msgspec.Raw()


class _Kind(msgspec.Struct, gc=False):
    type: str | None = None


_BRING_TOOLS = ("additional_tools", "tool_search_output")
#: Kinds of items whose fields somebody here reads; all others may have any shape.
_READ = frozenset(
    {
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "configuration_update",
        *_BRING_TOOLS,
    }
)
_whole_items = msgspec.json.Decoder(list[_Whole]).decode
_items = msgspec.json.Decoder(list[Item]).decode
_item = msgspec.json.Decoder(Item).decode
_kind = msgspec.json.Decoder(_Kind).decode
_KNOWN_FIELDS = frozenset(_Whole.__struct_fields__) - {"failed", "at"}


def is_text(raw: msgspec.Raw) -> bool:
    """Whether undecoded JSON is a string."""
    view = memoryview(raw)
    return view.nbytes > 0 and view[0] == 0x22


def is_absent(raw: msgspec.Raw) -> bool:
    """Whether a field is not there, or null."""
    view = memoryview(raw)
    return view.nbytes == 0 or (view.nbytes == 4 and view == b"null")


def text_of(raw: msgspec.Raw) -> str:
    """Undecoded JSON as text: a string's own, nothing for nothing, else the JSON itself."""
    if is_text(raw):
        return str(load(raw))
    return "" if is_absent(raw) else bytes(raw).decode()


def value_of(raw: msgspec.Raw, place: str = "") -> Any:
    """The value of undecoded JSON; None where there is none. WireError when it cannot be read."""
    return load(raw, place) if memoryview(raw).nbytes else None


class Turn:
    """One request of a client. Fields stay undecoded JSON until somebody asks for them.

    ``fields`` maps each setting to its raw JSON, under the names of the Responses API, and where
    that has no word under Chat's (stop, seed, …); ``items`` is the conversation. ``own`` are the
    top-level fields as the client sent them, in the words of its ``protocol``.
    """

    def __init__(
        self,
        body: bytes,
        fields: dict[str, msgspec.Raw],
        *,
        protocol: str = "responses",
        own: dict[str, msgspec.Raw] | None = None,
        read_items: Callable[[], list[Item]] | None = None,
        has_surrogates: bool | None = None,
        untranslated: Untranslated | None = None,
    ) -> None:
        self.body = body
        self.fields = fields
        self.protocol = protocol
        self.own = fields if own is None else own
        self._read_items = read_items
        #: What the client says that no other protocol has a word for; complete with the items.
        self.untranslated = untranslated or Untranslated()
        if has_surrogates is not None:
            self.has_surrogates = has_surrogates
        self.model: str = self.setting("model", "")
        self.stream: bool = self.setting("stream", False)

    @cached_property
    def has_surrogates(self) -> bool:
        """Whether half a surrogate pair is in it: decoded texts have a private character there."""
        return protect_surrogates(self.body) is not self.body

    def decodable(self, raw: msgspec.Raw) -> msgspec.Raw:
        """``raw``, a part of the request, in a form that can be decoded."""
        if self.protocol != "responses" or not self.has_surrogates:
            # Codecs of other protocols have made the fields of what was protected.
            return raw
        return msgspec.Raw(protect_surrogates(bytes(raw), always=True))

    def setting(self, name: str, default: Any = None) -> Any:
        """The decoded top-level field ``name``; ``default`` where it is absent or null. WireError
        when it is not what the field must be."""
        raw = self.fields.get(name)
        if raw is None:
            return default
        if name not in ("model", "stream"):
            raw = self.decodable(raw)
        value = load(raw, name)
        if value is None:
            return default
        check(name, value)
        return value

    @cached_property
    def items(self) -> list[Item]:
        """The input as a list of items; a plain string becomes one user message."""
        if self._read_items:
            return self._read_items()
        raw = self.decodable(self.fields.get("input", msgspec.Raw(b"[]")))
        if is_text(raw):
            return [Item(type="message", role="user", content=raw)]
        try:
            return [*_whole_items(raw)]
        except (msgspec.DecodeError, RecursionError):
            pass
        try:
            items = _items(raw)
        except (msgspec.DecodeError, RecursionError):
            items = self._each(raw)
        for number, entry in enumerate(split(raw, "input")):
            if items[number].type in (None, *_READ):
                fields = members(entry, "input")
                self.untranslated.add(fields, _KNOWN_FIELDS, f"input[{number}]")
        return items

    def _each(self, raw: msgspec.Raw) -> list[Item]:
        """The items one by one: kinds that nobody here reads may have fields of any shape."""
        if bytes(memoryview(raw)[:1]) != b"[":
            raise WireError("input must be a string or a list of items", param="input")
        result = []
        for number, entry in enumerate(split(raw, "input")):
            place = f"input[{number}]"
            try:
                result.append(_item(entry))
            except (msgspec.DecodeError, RecursionError):
                kind = load(entry, place, _kind).type
                if kind is None or kind in _READ:
                    result.append(load(entry, place, _item))
                else:
                    result.append(Item(type=kind))
        return result

    def place(self, item: Item) -> str:
        """Where ``item`` stands, as far as the client's own words have it as one."""
        if self.protocol != "responses":
            return f"messages[{item.at}]" if item.at >= 0 else "system"
        if is_text(self.fields.get("input", msgspec.Raw())):
            return "input"
        return f"input[{next(n for n, other in enumerate(self.items) if other is item)}]"

    def parts(self, item: Item, content: msgspec.Raw) -> list[Part]:
        """The parts of ``content``, which is the content or the output of ``item``. WireError that
        names the place where it is no list of them."""
        try:
            return _parts(content)
        except (msgspec.DecodeError, RecursionError):
            field = "content" if content is item.content else "output"
            parts: list[Part] = load(content, f"{self.place(item)}.{field}", _parts)
            return parts

    @cached_property
    def tools(self) -> list[Tool]:
        """Everything offered in this turn, also what ``additional_tools`` items bring."""
        offered = list(self.setting("tools", []))
        for item in self.items:
            if item.type in _BRING_TOOLS and not is_absent(item.tools):
                place = f"{self.place(item)}.tools"
                brought = value_of(item.tools, place)
                check("tools", brought, place)
                offered += brought
        return offered

    @property
    def effort(self) -> str | None:
        """The reasoning effort in force: the setting's, or what an item has changed it to."""
        effort: str | None = self.setting("reasoning", {}).get("effort")
        for item in self.items:
            if item.type == "configuration_update" and not is_absent(item.reasoning):
                place = f"{self.place(item)}.reasoning"
                changed = value_of(item.reasoning, place)
                check("reasoning", changed, place)
                effort = changed.get("effort") or effort
        return effort

    def call_ids(self) -> set[str]:
        """The ids of all tool calls in the conversation so far."""
        return {item.call_id for item in self.items if item.call_id}

    @cached_property
    def seed(self) -> str:
        """What ids are made of where the upstream sends none: the same request, the same ids."""
        return hashlib.blake2b(self.body, digest_size=12).hexdigest()


class Started(msgspec.Struct, frozen=True):
    """The answer has begun. ``id`` is the upstream's; ``created`` in seconds since 1970, or 0."""

    id: str
    created: int = 0


class Text(msgspec.Struct, frozen=True):
    """A piece of what the model says."""

    text: str


class Refusal(msgspec.Struct, frozen=True):
    """A piece of the model's refusal."""

    text: str


class Reasoning(msgspec.Struct, frozen=True):
    """A piece of the model's readable thinking."""

    text: str


class ReasoningState(msgspec.Struct, frozen=True):
    """What the upstream wants to see again next turn: fields of its own assistant message.

    ``late`` says that it came after text or calls of the same message had begun.
    """

    data: dict[str, Any]
    late: bool = False


class Annotation(msgspec.Struct, frozen=True):
    """A citation that belongs to the text so far."""

    data: dict[str, Any]


class CallStart(msgspec.Struct, frozen=True):
    """A tool call begins; ``key`` tells parallel calls apart, ``name`` is the upstream's name."""

    key: int
    id: str
    name: str


class CallDelta(msgspec.Struct, frozen=True):
    """A piece of a call's arguments (JSON text)."""

    key: int
    arguments: str


class CallWhole(msgspec.Struct, frozen=True):
    """The arguments of a call in the place of all its pieces, since these were no good."""

    key: int
    arguments: str


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one answer. ``input`` includes ``cached`` and ``cache_write``, which includes
    ``cache_write_long`` (for an hour); ``output`` includes ``reasoning``."""

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    cache_write_long: int = 0


class Finish(msgspec.Struct, frozen=True):
    """The answer is whole. ``reason``: stop, length, tool_calls, content_filter."""

    reason: str


class KeepAlive(msgspec.Struct, frozen=True):
    """The upstream is still at work but has nothing to say."""


class Failure(msgspec.Struct, frozen=True):
    """An upstream's failure, in the provider's own words.

    ``status`` is its HTTP status, 0 where there was none; ``delay`` in seconds, where it named one;
    ``retry`` says whether sending the same request again can help, ``address`` that the URL which
    was asked is the likely cause.
    """

    message: str
    status: int = 0
    code: str = ""
    type: str = ""
    delay: float | None = None
    retry: bool = False
    context: bool = False
    address: bool = False


Event = (
    Started
    | Text
    | Refusal
    | Reasoning
    | ReasoningState
    | Annotation
    | CallStart
    | CallDelta
    | CallWhole
    | Usage
    | Finish
    | KeepAlive
    | Failure
)
