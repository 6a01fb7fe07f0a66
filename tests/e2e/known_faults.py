"""Faults that are known and not mended yet: which cases fail for now, and where the fault is.

A case that is listed here and passes fails its test, so that the line is taken out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

#: Patterns for a client, the name of a case and where it goes to; and the place of the fault.
Known = tuple[str, str, str, str]

#: Odd requests: the client's protocol, the name, the model.
REQUESTS: Sequence[Known] = []
#: Odd answers: the client, the name, the provider's protocol and whether it streams.
ANSWERS: Sequence[Known] = []


def mark(
    known: Sequence[Known], client: str, name: str, goes_to: str
) -> list[pytest.MarkDecorator]:
    """The mark of a case: none where it has to hold."""
    for clients, names, places, reason in known:
        pairs = ((clients, client), (names, name), (places, goes_to))
        if all(re.fullmatch(pattern, text) for pattern, text in pairs):
            return [pytest.mark.xfail(reason=reason, strict=True)]
    return []
