"""Faults that are known and not mended yet: which cases fail for now, and where the fault is.

A case that is listed here and passes fails its test, so that the line is taken out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

#: Patterns for a client, the name of a case and where it goes to; and the place of the fault.
Known = tuple[str, str, str, str]

_ANY = ".*"
_TOOLS = "shim/prompt/edit.py: rules do not look at the tools that a client offers"
#: Odd requests: the client's protocol, the name, the model.
REQUESTS: Sequence[Known] = [
    ("responses", r"phrase at tools\.[01].*", "to-.*", _TOOLS),
    ("responses", r"phrase at tools\.2\.tools.*", "to-.*", _TOOLS),
    # In another protocol a group of tools has no description of its own.
    ("responses", r"phrase at tools\.2\.description", "to-responses", _TOOLS),
    ("chat", r"phrase at tools.*", "to-.*", _TOOLS),
    ("chat", r"phrase at functions.*", "to-chat", _TOOLS),
    ("messages", r"phrase at tools\.0.*", "to-.*", _TOOLS),
    ("messages", r"phrase at tools\.1.*", "to-messages", _TOOLS),
]
_PASSES = "shim/wire/passthrough.py: any object passes for an answer, and null for an event"
#: Odd answers: the client, the name, the provider's protocol and whether it streams.
ANSWERS: Sequence[Known] = [
    (clients, name, how, _PASSES)
    for clients, protocol in (
        ("responses|codex", "responses"),
        ("chat", "chat"),
        ("messages", "messages"),
    )
    for name, how in (
        ("an empty object", f"{protocol} whole"),
        ("null (first|in the middle), in events", f"{protocol} stream"),
    )
]


def mark(
    known: Sequence[Known], client: str, name: str, goes_to: str
) -> list[pytest.MarkDecorator]:
    """The mark of a case: none where it has to hold."""
    for clients, names, places, reason in known:
        pairs = ((clients, client), (names, name), (places, goes_to))
        if all(re.fullmatch(pattern, text) for pattern, text in pairs):
            return [pytest.mark.xfail(reason=reason, strict=True)]
    return []
