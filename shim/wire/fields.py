"""The top level of a request of any protocol: its fields, and the same with a few changed."""

from __future__ import annotations

import codecs
import re
from collections.abc import Set
from typing import Any, NamedTuple

import msgspec

from ..json_text import join_place, load, path_at, protect_surrogates, restore_surrogates
from ..turn import Turn, WireError
from ..untranslated import Untranslated, is_empty
from .messages.marks import mark
from .moved import leave_out
from .protocols import Caching

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
#: Up to the value of the next member of an object.
_MEMBER = re.compile(rb'[\s{,]*+("[^"\\]*+(?:\\.[^"\\]*+)*+")\s*+:\s*+', re.DOTALL)
#: What only concerns the client's own provider and machine (codex-wire.md, section 2).
_MARK = b'"cache_control"'
_PRIVATE = ("client_metadata", "prompt_cache_key", "safety_identifier", "user", "metadata")


class Body(NamedTuple):
    """A request's body: ``data`` with each key of its top level once, the ``fields`` as they came,
    and whether there is half a surrogate pair in it (see `json_text`)."""

    data: bytes
    fields: dict[str, msgspec.Raw]
    has_surrogates: bool


def read_body(body: bytes, *required: str) -> Body:
    """The JSON object ``body``; WireError (400) that names the place when it is none."""
    data = body.removeprefix(codecs.BOM_UTF8)
    if not data.isascii():
        _check_utf8(data)
    try:
        fields, has_surrogates = _fields.decode(data), False
    except (msgspec.DecodeError, RecursionError):
        text = protect_surrogates(data)
        has_surrogates = text is not data
        fields = _read(text)
        if has_surrogates:
            fields = {k: msgspec.Raw(restore_surrogates(bytes(v))) for k, v in fields.items()}
    for name in required:
        if name not in fields:
            raise WireError(f"the field {name} is missing", param=name)
    if _is_doubled(data, fields):
        data = msgspec.json.encode(fields)
    return Body(data, fields, has_surrogates)


class ClientFields:
    """The top-level fields of a request that are to be decoded, in the client's own words."""

    def __init__(self, body: Body) -> None:
        self.fields = body.fields
        if body.has_surrogates:
            self.fields = {
                k: msgspec.Raw(protect_surrogates(bytes(v), always=True))
                for k, v in body.fields.items()
            }

    def value(self, name: str, kind: str = "") -> Any:
        """The value of the field ``name``, None where it has none; ``kind`` is what it must be:
        text, number, list or object."""
        raw = self.fields.get(name)
        value = None if raw is None else load(raw, name)
        return expect(value, kind, name) if kind else value


_KINDS: dict[str, tuple[Any, str]] = {
    "text": (str, "a string"),
    "number": (int | float, "a number"),
    "list": (list, "a list"),
    "object": (dict, "an object"),
}


def expect(value: Any, kind: str, place: str) -> Any:
    """``value``, unless it is neither null nor of the ``kind``: WireError with its place."""
    types, description = _KINDS[kind]
    if value is not None and (not isinstance(value, types) or isinstance(value, bool)):
        raise WireError(f"{place} must be {description}", param=place)
    return value


def untranslated_settings(own: ClientFields, known: Set[str]) -> Untranslated:
    """The top-level fields besides the ``known`` ones that say anything."""
    left = sorted(name for name in own.fields.keys() - known if not is_empty(own.fields[name]))
    return Untranslated(f"setting {name}" for name in left)


def top_level(body: bytes, *required: str) -> dict[str, msgspec.Raw]:
    """The fields of the JSON object ``body``; WireError (400) when it is none, or lacks one."""
    return read_body(body, *required).fields


def _check_utf8(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as e:
        place = join_place("", path_at(data, e.start))
        raise WireError(
            f"the request body is not valid UTF-8 at byte {e.start}{_within(place)}",
            param=place or None,
        ) from None


def _read(text: bytes) -> dict[str, msgspec.Raw]:
    try:
        fields: dict[str, msgspec.Raw] = load(text, "", _fields.decode)
    except WireError as e:
        if text.lstrip(b" \t\r\n")[:1] not in (b"", b"{") and e.param is None:
            raise WireError("the request body must be a JSON object") from None
        raise WireError(f"the request body is not valid JSON: {e}", param=e.param) from None
    return fields


def _within(place: str) -> str:
    return f" ({place})" if place else ""


def _is_doubled(data: bytes, fields: dict[str, msgspec.Raw]) -> bool:
    """Whether a key of the top level is there twice: readers differ in which of them counts."""
    count = len(fields)
    size = sum(len(k.encode()) + 4 + memoryview(v).nbytes for k, v in fields.items()) + 1
    # As programs write it: without blanks, or with one behind each comma and colon.
    if len(data) in (size, size + 2 * count - 1):
        return False
    seen, offset = 0, 0
    while member := _MEMBER.match(data, offset):
        raw = fields.get(load(member[1]))
        seen += 1
        if raw is None or not data.startswith(bytes(raw), member.end()):
            return True
        offset = member.end() + memoryview(raw).nbytes
    return seen != count


def pass_on(turn: Turn, *, model: str, third_party: bool, caching: Caching | None = None) -> bytes:
    """The client's own bytes, but for the model's name, what third parties must not see, the
    reasoning of other upstreams, and what ``caching`` wants."""
    fields = dict(turn.own)
    leave_out(fields, turn.protocol, turn.body)
    if model != turn.model:
        fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    if third_party:
        for name in _PRIVATE:
            fields.pop(name, None)
    if caching and caching.key:
        fields["prompt_cache_key"] = msgspec.Raw(msgspec.json.encode(caching.key))
    if caching and caching.life and _MARK not in turn.body:
        mark(fields, caching.life)
    return turn.body if fields == turn.own else msgspec.json.encode(fields)


def refuse_more(turn: Turn) -> None:
    """WireError where a Chat client waits for something no other protocol's answer holds."""
    if (turn.setting("n") or 1) != 1:
        raise WireError("n: this upstream gives one answer per request", param="n")
    if turn.setting("logprobs"):
        raise WireError("logprobs: this upstream tells none", param="logprobs")
