"""Following the references that dedup leaves, by what docs/dedup.md says of them alone."""

from __future__ import annotations

import re

from benchmarks.tokens.agent import Broken
from benchmarks.tokens.prompts import Seen

_REFERENCE = re.compile(
    r"\[\^same as lines (\d+)-(\d+) of (output|call|message) (\d+)(?:\.\d+)?(?: ([\w-]+))?"
    r"(, without the \+)?: (.*)\]"
)
_ESCAPED = re.compile(r"\\+\[\^same as lines ")


def follow(text: str, seen: Seen) -> str:
    """``text`` with what its references stand for."""
    if "[^same as lines " not in text:
        return text
    made: list[str] = []
    for line in text.split("\n"):
        if match := _REFERENCE.fullmatch(line):
            made += _lines(match, seen)
        else:
            made.append(line[1:] if _ESCAPED.match(line) else line)
    return "\n".join(made)


def _lines(match: re.Match[str], seen: Seen) -> list[str]:
    first, last, number = int(match[1]), int(match[2]), int(match[4])
    anchor = match[7].removesuffix("…")
    if match[3] == "message":
        return _said(seen.messages, anchor, last - first + 1)
    try:
        if match[3] == "output":
            source = seen.outputs[number - 1]
        else:
            call = seen.calls[number - 1]
            source = call.get(match[5] or "input") or call[match[5] or ""]
    except LookupError:
        raise Broken(f"{match[0]}: nothing stands there") from None
    found = source.split("\n")[first - 1 : last]
    if match[6]:
        found = [line[1:] for line in found]
    if len(found) != last - first + 1 or not any(x.strip().startswith(anchor) for x in found):
        raise Broken(f"{match[0]}: that is not what stands there")
    return found


def _said(messages: list[str], anchor: str, count: int) -> list[str]:
    for message in messages:
        lines = message.split("\n")
        for n, line in enumerate(lines):
            if line.strip().startswith(anchor) and len(lines) - n >= count:
                return lines[n : n + count]
    raise Broken(f"no message has the line {anchor!r}")
