"""Every dialect, every kind of tool and every kind of damage: what the tests of repair, and the page
docs/dialects.md, are made of."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from shim.codex.tools import TOOLS
from shim.repair.checks import Toolbox
from shim.repair.dialects import DIALECTS, Dialect
from shim.repair.dialects.base import dumps
from shim.repair.scan import Missed
from shim.repair.stream import Rules, TextCalls
from shim.tools.bridge import Bridge
from shim.turn import CallDelta, CallStart, Event, Finish, Reasoning, Text

ALL = tuple(DIALECTS)
LOOK = {
    "type": "function",
    "name": "look_up",
    "description": "Looks a word up.",
    "parameters": {
        "type": "object",
        "properties": {
            "query": {"type": "string"},
            "limit": {"type": "integer"},
            "deep": {"type": "boolean"},
            "where": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["query"],
        "additionalProperties": False,
    },
}
OFFERED: list[dict[str, Any]] = [
    *TOOLS,
    {"type": "namespace", "name": "mcp__books", "tools": [LOOK]},
]
PATCH = '*** Begin Patch\n*** Update File: a.py\n@@\n-x = [1]\n+x = {2: "b"}\n*** End Patch'


class Kind(msgspec.Struct, frozen=True):
    """A tool of one kind: the name upstream, and arguments."""

    name: str
    arguments: dict[str, Any]


KINDS = {
    "function": Kind("exec_command", {"cmd": 'ls -la\necho "it\'s" > a', "yield_time_ms": 5}),
    "custom": Kind("apply_patch", {"input": PATCH}),
    "namespaced": Kind(
        "mcp__books__look_up",
        {"query": "über <b>", "limit": 3, "deep": True, "where": ["a", "b c"]},
    ),
}
#: Dialects that can only say a patch.
PATCHES = ("codex_patch", "fenced_patch")


def kinds_of(dialect: Dialect) -> dict[str, Kind]:
    """The kinds of tools that ``dialect`` can call."""
    return {k: v for k, v in KINDS.items() if k == "custom" or dialect.name not in PATCHES}


Damage = Callable[[Dialect, Kind], str | None]


def _changed(change: Callable[[str, Dialect, Kind], str]) -> Damage:
    """A damage to the whole text; none where it changes nothing."""

    def damage(dialect: Dialect, kind: Kind) -> str | None:
        text = dialect.write(kind.name, kind.arguments)
        made = change(text, dialect, kind)
        return made if made != text else None

    return damage


def _json(change: Callable[[str, Kind], str]) -> Damage:
    """A damage to the arguments, where they stand there as JSON."""

    def damage(dialect: Dialect, kind: Kind) -> str | None:
        text, given = dialect.write(kind.name, kind.arguments), dumps(kind.arguments)
        if given not in text:
            return None
        made = text.replace(given, change(given, kind))
        return made if made != text else None

    return damage


def _last_close(text: str) -> int:
    found = max(text.rfind("</"), text.rfind("<|"), text.rfind("<｜"), text.rfind("<end_"))
    found = max(found, text.rfind("<tool_call|>"), text.rfind("]<]minimax[>[</"))
    return found if found > len(text) // 2 else len(text)


DAMAGES: dict[str, Damage] = {
    "no close": _changed(lambda t, d, k: t[: _last_close(t)].rstrip()),
    "orphan closes behind": _changed(lambda t, d, k: t + "\n</parameter>\n</invoke>"),
    "end token behind": _changed(lambda t, d, k: t + "<|im_end|>"),
    "junk line before": _changed(lambda t, d, k: "count\n" + t),
    "spaces around": _changed(lambda t, d, k: "\n  " + t + " \n\n"),
    "functions. before the name": _changed(
        lambda t, d, k: (
            t if f"functions.{k.name}" in t else t.replace(k.name, f"functions.{k.name}")
        )
    ),
    "tag misspelt": _changed(
        lambda t, d, k: (
            re.sub(r"<((?:\w+:)?)invoke", r"<\1rivoke", t, count=1).replace(
                "parameter name=", "parameter rname="
            )
            if "invoke name" in t and ":invoke" not in t and "｜" not in t and "]<]" not in t
            else t
        )
    ),
    "space in the tag": _changed(
        lambda t, d, k: t.replace("<invoke", "< invoke") if t.startswith("<invoke") else t
    ),
    "first tag lost": _changed(
        lambda t, d, k: re.sub(r"^<tool_call>\s*(?=<function)", "", t),
    ),
    "trailing comma": _json(lambda a, k: a[:-1] + ",}"),
    "Python's quotes": _json(lambda a, k: repr(k.arguments)),
    "Python's words": _json(lambda a, k: a.replace("true", "True")),
    "raw line breaks": _json(lambda a, k: a.replace("\\n", "\n")),
    "encoded twice": _json(lambda a, k: dumps(a)),
    "whole numbers with a point": _json(lambda a, k: re.sub(r": (\d)(?=[,}])", r": \1.0", a)),
    "bracket lost": _json(lambda a, k: a[:-1]),
    "empty object before": _json(lambda a, k: "{}" + a),
}
#: Cut off by the token limit: never a call, whatever is left.
CUTS = (0.5, 0.8, 0.95)


def cases(dialects: Iterable[str] = ALL) -> Iterator[tuple[str, str, str, str]]:
    """Each (dialect, kind, damage, text); the damage "intact" is none."""
    for name in dialects:
        dialect = DIALECTS[name]
        for kind, tool in kinds_of(dialect).items():
            yield name, kind, "intact", dialect.write(tool.name, tool.arguments)
            for damage, change in DAMAGES.items():
                if (text := change(dialect, tool)) is not None:
                    yield name, kind, damage, text


def toolbox(choice: Any = None, loose: bool = False) -> Toolbox:
    return Toolbox(Bridge(OFFERED), choice, loose=loose)


def text_calls(
    strictness: str = "normal", missed: list[Missed] | None = None, choice: Any = None
) -> TextCalls:
    """The filter with every dialect and the tools of `OFFERED`."""
    loose = strictness == "loose"
    return TextCalls(
        Rules(ALL, strictness),
        toolbox(choice, loose),
        lambda: "0123456789abcdef",
        missed=missed.append if missed is not None else None,
    )


def run(
    pieces: Iterable[str],
    reason: str = "stop",
    strictness: str = "normal",
    kind: type[Text] | type[Reasoning] = Text,
    missed: list[Missed] | None = None,
) -> list[Event]:
    """The events for a message that comes in ``pieces``."""
    made = text_calls(strictness, missed)
    out = [e for piece in pieces for e in made.filter([kind(piece)])]
    return out + made.filter([Finish(reason)])


def story(events: Iterable[Event]) -> tuple[str, list[tuple[str, Any]]]:
    """What is said, and the calls."""
    events = list(events)
    text = "".join(e.text for e in events if isinstance(e, Text | Reasoning))
    names = [e.name for e in events if isinstance(e, CallStart)]
    given = [json.loads(e.arguments) for e in events if isinstance(e, CallDelta)]
    return text, list(zip(names, given, strict=True))


def marks(text: str, dialect: Dialect) -> set[int]:
    """The places inside the markers of ``text``: tags, tokens, fences, words that open."""
    words = re.finditer(
        r"<[^<>\n]{1,60}>|\]<\]minimax\[>\[|```\w*|\*\*\* \w+ Patch|\[[A-Z_]+\]", text
    )
    found = {at for match in words for at in range(match.start(), match.end() + 1)}
    for word in (*dialect.openings, *dialect.closes):
        at = text.find(word)
        if at >= 0:
            found |= set(range(at, at + len(word) + 1))
    return found
