"""A Messages request of a client as a Turn."""

from __future__ import annotations

from ...turn import Turn


def read_request(body: bytes) -> Turn:
    """The Turn in ``body``; WireError (400) that names the field when it is none."""
    raise NotImplementedError
