"""The table of protocols: per protocol how requests and answers are read and written.

To add a protocol: a folder beside this file with the four modules, and one entry here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, Literal, Protocol

import msgspec

from ..tools.bridge import Bridge
from ..turn import Event, Failure, Turn, Usage
from .decoder import StreamDecoder
from .quirks import PLAIN, Quirks

Name = Literal["responses", "chat", "messages"]


class Caching(msgspec.Struct, frozen=True):
    """How a request uses the provider's prompt cache: how long its breakpoints live, None for no
    breakpoints; its key, which goes to all upstreams or to those that are known to take one."""

    life: str | None = None
    key: str | None = None
    always: bool = False


class Target(msgspec.Struct, frozen=True):
    """What a request is written for. ``context`` is the model's window in tokens, if known.

    With ``caching`` tools go by their names, so that the prompt begins alike whatever their order.
    """

    model: str
    provider: str
    images: bool = True
    third_party: bool = True
    quirks: Quirks = PLAIN
    context: int | None = None
    caching: Caching | None = None


class Encoder(Protocol):
    """Canonical events to a client's stream; ``response`` is the whole answer once it has ended."""

    usage: Usage | None
    failure: Failure | None
    response: dict[str, Any] | None

    @property
    def calls(self) -> int:
        """How many tool calls the answer holds so far."""

    def encode(self, events: list[Event]) -> bytes:
        """The bytes of the stream for ``events``."""


class Codec(msgspec.Struct, frozen=True):
    """One protocol, as a client's and as an upstream's.

    ``error_body(message, status=, type=, code=, param=)`` is an error in the protocol's own shape;
    ``failed_event(failure, id=, number=, codex=)`` ends a stream that cannot go on.
    """

    read_request: Callable[[bytes], Turn]
    write_request: Callable[[Turn, Bridge, Target, list[str]], bytes]
    decoder: Callable[..., StreamDecoder]
    encoder: Callable[..., Encoder]
    is_answer: Callable[[Any], bool]
    error_body: Callable[..., bytes]
    failed_event: Callable[..., bytes]


@cache
def codec(name: str) -> Codec:
    """The codec of the protocol ``name``; its modules are loaded when it is first needed."""
    read_request, write_request, read_answer, write_answer, errors = (
        import_module(f".{name}.{part}", __package__)
        for part in ("read_request", "write_request", "read_answer", "write_answer", "errors")
    )
    return Codec(
        read_request.read_request,
        write_request.write_request,
        read_answer.Decoder,
        write_answer.Encoder,
        read_answer.is_answer,
        errors.error_body,
        errors.failed_event,
    )
