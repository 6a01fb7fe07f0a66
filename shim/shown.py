"""Text of others as it may be shown in a terminal."""

from __future__ import annotations


def plain(text: str, keep: str = "") -> str:
    """``text`` without what a terminal takes for a command, or what turns writing round; the
    characters in ``keep`` stay."""
    return "".join(c if c.isprintable() or c in keep else "�" for c in text)
