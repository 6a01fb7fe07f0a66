"""A Responses request as a Turn: the canonical form is its own, so nothing is translated."""

from __future__ import annotations

from ...turn import Turn
from ..fields import read_body


def read_request(body: bytes) -> Turn:
    """The Turn in ``body``; WireError (400) that names the field when it is none."""
    data, fields, has_surrogates = read_body(body, "input")
    return Turn(data, fields, has_surrogates=has_surrogates)
