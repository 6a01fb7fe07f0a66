"""Text of others where it is shown or sent on: terminals, logs, pages, header fields."""

from __future__ import annotations

import re
from html import escape

#: What a terminal takes for a command or the end of a line, what turns writing round or is not
#: seen, and what is no character (Unicode's classes Cc, Zl, Zp, Cs, and of Cf what marks nothing).
_ODD = re.compile(
    "[\0-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
_BLANK, _UNKNOWN = dict.fromkeys("\t\n\v\f\r", " "), "\N{REPLACEMENT CHARACTER}"
#: What no header field and no path may hold: whoever reads them next may take it for a line's end
#: (RFC 9110, section 5.5).
_CONTROL = re.compile(rb"[\0-\x08\x0a-\x1f\x7f]+")
#: What no key goes on behind, and how much of a word is told that is cut off.
_ENDS_WORD = " \t\n\r\"'<>(){}[],;"
_TOLD = 3
#: Characters of a line.
_LONGEST = 4000


def plain(text: str, keep: str = "") -> str:
    """``text`` on one line, without what a terminal takes for a command, what turns writing round,
    and what is no character; those in ``keep`` stay."""
    if not _ODD.search(text):
        return text
    return _ODD.sub(lambda m: m[0] if m[0] in keep else _BLANK.get(m[0], _UNKNOWN), text)


def short(text: str, most: int) -> str:
    """``text`` cut to ``most`` characters, with a mark. Of a word that would be cut only its
    beginning is told: half a key is known for one by nobody who looks for keys."""
    if len(text) <= most:
        return text
    kept = text[:most]
    if text[most] not in _ENDS_WORD:
        at = max(map(kept.rfind, _ENDS_WORD)) + 1
        kept = kept[: at + _TOLD]
    return f"{kept}…"


def line(text: str) -> str:
    """The same of what may be as long as others like, cut to what one reads."""
    return plain(short(text, _LONGEST))


def lines(text: str, indent: str = "    ") -> str:
    """The same of a text of several lines; none but the first begins as a line of ours would."""
    return plain(text, "\n\t").replace("\n", f"\n{indent}")


def in_html(text: str) -> str:
    """The same for HTML, inside and outside of attributes."""
    return escape(plain(text, "\n"))


def escaped(text: str) -> str:
    """``text`` with what `plain` takes out as JSON writes it, but for lines and tabs: to a program
    that reads JSON it is the same."""
    return _ODD.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    if match[0] in "\n\t":
        return match[0]
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def has_control(value: bytes) -> bool:
    """Whether ``value`` holds what no header field and no path may hold."""
    return bool(_CONTROL.search(value))


def field_value(value: bytes) -> bytes:
    """A header field's ``value`` without what may end its line: spaces stand in its place, as RFC
    9110 says (section 5.5)."""
    return _CONTROL.sub(b" ", value).strip(b" \t") if _CONTROL.search(value) else value
