"""What leads back from masks: the table of a session, and texts with secrets put back."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable
from functools import cached_property
from typing import Any

_CALLS = frozenset(
    {"function_call", "custom_tool_call", "tool_use", "response.function_call_arguments.done"}
)
#: Where the upstream's own state goes by, which it must get back as it was.
_STATE = frozenset({"encrypted_content", "signature", "reasoning_details"})
_MOST_THOUGHTS = 100
#: A mask, or its beginning at the end of a string.
_NEAR = re.compile(rb'MASKED_|M(?:A(?:S(?:K(?:ED?)?)?)?)?"')


class Table(dict[str, str]):
    """Masks and their secrets, and what has come back: ``used`` maps the secrets a model has put
    to use to their masks; ``thoughts`` the signatures of thoughts to what was signed.

    ``holds`` says whether a text holds something to be masked.
    """

    BEGIN = "MASKED_"

    def __init__(self, holds: Callable[[str], bool] = lambda text: False) -> None:
        super().__init__()
        self.used: dict[str, str] = {}
        self.thoughts: dict[str, str] = {}
        self._holds = holds

    def follow(self, former: Table) -> None:
        """Know what ``former`` knew."""
        self.update(former)
        self.used.update(former.used)
        self.thoughts.update(former.thoughts)

    def think(self, signature: str, thought: str) -> None:
        """Keep a signed thought that would not come back as it is: the signature is its own."""
        if signature and (self.BEGIN in thought or self._holds(thought)):
            self.thoughts[signature] = thought
            while len(self.thoughts) > _MOST_THOUGHTS:
                del self.thoughts[next(iter(self.thoughts))]


class Unmask:
    """What leads back: ``table`` maps masks to secrets, ``names`` the tools' names upstream to the
    client's own."""

    thinks = True

    def __init__(self, table: dict[str, str], names: dict[str, str] | None = None) -> None:
        self.table = table
        self.names = names or {}

    def __bool__(self) -> bool:
        return bool(self.table or self.names)

    def near(self, raw: bytes) -> bool:
        """Whether an event may hold a mask, or the beginning of one."""
        return _NEAR.search(raw) is not None

    def let_go(self, held: str) -> str:
        """What leaves of what was ``held``, where nothing follows."""
        return held

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self.table)

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._sorted), default=0)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        # Masks are many, their beginnings few.
        heads = sorted({mask[:-12] for mask in self._sorted}, key=len, reverse=True)
        return re.compile(f"(?:{'|'.join(map(re.escape, heads))})[0-9a-f]{{12}}")

    def whole(self, text: str, *, inside_json: bool = False) -> str:
        """``text`` with every mask's secret; ``inside_json``: as JSON writes it in a string."""
        return self._put(text, inside_json)[0]

    def split(self, text: str, *, inside_json: bool) -> tuple[str, str]:
        """(what may leave, what may be the beginning of a mask)."""
        if not self.table or "M" not in text:
            return text, ""
        made, end = self._put(text, inside_json)
        at = text.find("M", max(end, len(text) - self._longest + 1))
        while at >= 0:
            tail = text[at:]
            near = bisect_left(self._sorted, tail)
            if near < len(self._sorted) and self._sorted[near].startswith(tail):
                return made[: len(made) - len(tail)], tail
            at = text.find("M", at + 1)
        return made, ""

    def value(self, value: Any, key: str = "", *, free: bool = False) -> Any:
        """Decoded JSON with secrets and names put back; the same object when nothing changed.

        ``free``: it is a call's arguments, whose fields mean what the tool says.
        """
        if isinstance(value, str):
            return self.whole(value, inside_json=key == "arguments" and not free)
        if isinstance(value, list):
            entries = [self.value(entry, key, free=free) for entry in value]
            same = all(a is b for a, b in zip(entries, value, strict=True))
            return value if same else entries
        if not isinstance(value, dict):
            return value
        made = {}
        for k, v in value.items():
            inside = free or (k in ("input", "arguments") and isinstance(v, dict))
            kept = not free and k in _STATE
            made[self.whole(k)] = v if kept else self.value(v, k, free=inside)
        called = made.get("name")
        if not free and isinstance(called, str) and called in self.names and _is_call(made, key):
            made["name"] = self.names[called]
        same = made.keys() == value.keys() and all(made[k] is value[k] for k in value)
        return value if same else made

    def think(self, signature: Any, thought: Any) -> None:
        """A signed thought has come by, as the upstream wrote it."""
        if isinstance(self.table, Table) and isinstance(signature, str):
            self.table.think(signature, str(thought))

    def _put(self, text: str, inside_json: bool) -> tuple[str, int]:
        """``text`` with secrets, and where its last mask ended."""
        if not self.table or Table.BEGIN not in text:
            return text, 0
        out: list[str] = []
        end = at = 0
        while match := self._pattern.search(text, at):
            secret = self.table.get(match[0])
            if secret is None:
                at = match.start() + 1
                continue
            if isinstance(self.table, Table):
                self.table.used[secret] = match[0]
            written = json.dumps(secret, ensure_ascii=False)[1:-1] if inside_json else secret
            out += [text[end : match.start()], written]
            end = at = match.end()
        return ("".join([*out, text[end:]]), end) if end else (text, 0)


def _is_call(value: dict[str, Any], key: str) -> bool:
    """Whether an object with a name, in the field ``key``, is a tool call of any protocol."""
    kind = value.get("type")
    if isinstance(kind, str):
        return kind in _CALLS
    return kind is None and (key == "function" or "arguments" in value)
