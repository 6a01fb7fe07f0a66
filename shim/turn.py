"""The canonical vocabulary: a Turn (one request), the events of its answer, and errors.

Items, tools and settings keep the words and shapes of OpenAI's Responses API, since Codex is the
client we must be exact for. Every codec in ``shim/wire`` translates from or to what stands here.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import msgspec

Item = dict[str, Any]
Tool = dict[str, Any]


class WireError(Exception):
    """A request that cannot be understood: ``status`` for the client, a sentence, and the field."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param


class Turn:
    """One request of a client. Fields stay undecoded JSON until somebody asks for them.

    ``fields`` maps each top-level field to its raw JSON; ``items`` is the conversation.
    """

    def __init__(self, body: bytes, fields: dict[str, msgspec.Raw]) -> None:
        self.body = body
        self.fields = fields
        self.model: str = self.setting("model", "")
        self.stream: bool = bool(self.setting("stream", False))

    def setting(self, name: str, default: Any = None) -> Any:
        """The decoded top-level field ``name``; ``default`` where it is absent or null."""
        raw = self.fields.get(name)
        if raw is None:
            return default
        value = msgspec.json.decode(raw)
        return default if value is None else value

    @cached_property
    def items(self) -> list[Item]:
        """The input as a list of items; a plain string becomes one user message."""
        value = self.setting("input", [])
        if isinstance(value, str):
            return [{"type": "message", "role": "user", "content": value}]
        if not isinstance(value, list):
            raise WireError("input must be a string or a list of items", param="input")
        for n, item in enumerate(value):
            if not isinstance(item, dict):
                raise WireError(f"input[{n}] must be an object", param=f"input[{n}]")
        return value

    @cached_property
    def tools(self) -> list[Tool]:
        """Everything offered in this turn, also what ``additional_tools`` items bring."""
        value = self.setting("tools", [])
        if not isinstance(value, list) or not all(isinstance(t, dict) for t in value):
            raise WireError("tools must be a list of objects", param="tools")
        found = list(value)
        for item in self.items:
            if item.get("type") in ("additional_tools", "tool_search_output"):
                found += [t for t in item.get("tools") or () if isinstance(t, dict)]
        return found

    def call_ids(self) -> set[str]:
        """The ids of all tool calls in the conversation so far."""
        return {str(item["call_id"]) for item in self.items if item.get("call_id")}

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


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one answer. ``input`` includes ``cached``; ``output`` includes ``reasoning``."""

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0


class Finish(msgspec.Struct, frozen=True):
    """The answer is whole. ``reason``: stop, length, tool_calls, content_filter."""

    reason: str


class KeepAlive(msgspec.Struct, frozen=True):
    """The upstream is still at work but has nothing to say."""


class Failure(msgspec.Struct, frozen=True):
    """An upstream's failure, in the provider's own words.

    ``status`` is its HTTP status, 0 where there was none; ``delay`` in seconds, where it named one;
    ``retry`` says whether sending the same request again can help.
    """

    message: str
    status: int = 0
    code: str = ""
    type: str = ""
    delay: float | None = None
    retry: bool = False
    context: bool = False


Event = (
    Started
    | Text
    | Refusal
    | Reasoning
    | ReasoningState
    | Annotation
    | CallStart
    | CallDelta
    | Usage
    | Finish
    | KeepAlive
    | Failure
)
