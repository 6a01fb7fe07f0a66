"""The top level of a request of any protocol: its fields, and the same with a few changed."""

from __future__ import annotations

import msgspec

from ..turn import Turn, WireError
from .messages.marks import mark
from .moved import leave_out
from .protocols import Caching

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
#: What only concerns the client's own provider and machine (codex-wire.md, section 2).
_MARK = b'"cache_control"'
_PRIVATE = ("client_metadata", "prompt_cache_key", "safety_identifier", "user", "metadata")


def top_level(body: bytes, *required: str) -> dict[str, msgspec.Raw]:
    """The fields of the JSON object ``body``; WireError (400) when it is none, or lacks one."""
    try:
        fields = _fields.decode(body)
    except msgspec.ValidationError:
        raise WireError("the request body must be a JSON object") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise WireError(f"the request body is not valid JSON: {e}") from None
    for name in required:
        if name not in fields:
            raise WireError(f"the field {name} is missing", param=name)
    return fields


def check_model(turn: Turn) -> None:
    """WireError unless the model's name is a string."""
    if not isinstance(turn.model, str):
        raise WireError("model must be a string", param="model")


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
