"""Text of others where it is shown or sent on: terminals, logs, pages, header fields."""

from __future__ import annotations

import re

_IN_ITS_PLACE = "\N{REPLACEMENT CHARACTER}"
#: Characters of a line.
_LONGEST = 4000
#: What no header field may hold but tab (RFC 9110, section 5.5).
_CONTROL = re.compile(rb"[\0-\x08\x0a-\x1f\x7f]+")


def plain(text: str, keep: str = "") -> str:
    """``text`` on one line, without what a terminal takes for a command, what turns writing round,
    and what is no character; those in ``keep`` stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _IN_ITS_PLACE for c in text)


def line(text: str) -> str:
    """The same of what may be as long as others like, cut to what one reads."""
    return plain(text[:_LONGEST])


def field_value(value: bytes) -> bytes:
    """A header field's ``value`` without what may end its line: spaces stand in its place, as RFC
    9110 says (section 5.5)."""
    return _CONTROL.sub(b" ", value).strip(b" \t") if _CONTROL.search(value) else value
