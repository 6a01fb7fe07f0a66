"""A Responses request as a Turn, and a Turn back to the bytes of a Responses upstream."""

from __future__ import annotations

import msgspec

from ...turn import Turn, WireError

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
#: What only concerns OpenAI and the client's own machine (codex-wire.md, section 2).
_PRIVATE = ("client_metadata", "prompt_cache_key", "safety_identifier", "user", "metadata")


def decode_request(body: bytes) -> Turn:
    """The Turn in ``body``; WireError (400) that names the field when it is none."""
    try:
        fields = _fields.decode(body)
    except msgspec.ValidationError:
        raise WireError("the request body must be a JSON object") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise WireError(f"the request body is not valid JSON: {e}") from None
    if "input" not in fields:
        raise WireError("the field input is missing", param="input")
    turn = Turn(body, fields)
    if not isinstance(turn.model, str):
        raise WireError("model must be a string", param="model")
    return turn


def encode_request(turn: Turn, *, model: str, third_party: bool) -> bytes:
    """The body for a Responses upstream: the client's own bytes unless something must change."""
    fields = dict(turn.fields)
    if model != turn.model:
        fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    if third_party:
        for name in _PRIVATE:
            fields.pop(name, None)
    return turn.body if fields == turn.fields else msgspec.json.encode(fields)
