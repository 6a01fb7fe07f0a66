"""Finding what must not be seen: the patterns that come with Interpose, and the policy's own.

One pass of RE2 over the text asks for all of them at once, and its time grows with the text only;
where it stops, each pattern says how far it reaches there, and the longest has it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import re2

from ..policy.match import ANCHORS, pattern_options
from ..policy.rules import RedactRule
from ..policy.variables import VARIABLE

#: No secret has fewer bytes.
SHORTEST = 4
#: What may stand before a secret: no letter, unless it is the end of an escape such as ``\n``.
_LEAD = r"(?:\b|\\(?:[bfnrt\\/]|u[0-9a-fA-F]{4}))"
_KEYS = (
    r"sk-(?:ant-|proj-|or-|svcacct-)?[A-Za-z0-9_-]{20,}",
    r"gh[pousr]_[A-Za-z0-9]{36,}",
    r"github_pat_[A-Za-z0-9_]{22,}",
    r"glpat-[A-Za-z0-9_-]{20,}",
    r"(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"xox[abposr]-[A-Za-z0-9-]{10,}",
    r"AIza[A-Za-z0-9_-]{35}",
    r"hf_[A-Za-z0-9]{30,}",
    r"npm_[A-Za-z0-9]{36}",
    r"gsk_[A-Za-z0-9]{40,}",
    r"(?:sk|rk|pk)_live_[A-Za-z0-9]{20,}",
    r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    r"hooks\.slack\.com/services/[A-Z0-9]+/[A-Z0-9]+/[A-Za-z0-9]{16,}",
    r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    r"\d{8,10}:AA[A-Za-z0-9_-]{33}\b",
    r"(?:dop|doo|dor)_v1_[a-f0-9]{64}\b",
    r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b",
    r"sq0(?:atp|csp)-[A-Za-z0-9_-]{22,}",
    r"pypi-AgE[A-Za-z0-9_-]{50,}",
    r"ya29\.[A-Za-z0-9_-]{20,}",
    r"xapp-\d-[A-Za-z0-9-]{20,}",
    r"whsec_[A-Za-z0-9]{24,}",
    r"AGE-SECRET-KEY-1[A-Z0-9]{50,}",
)
#: By the issuers' first digits, so that timestamps and columns of numbers are none.
_CARDS = (
    r"(?:4\d{3}|5[0-8]\d{2}|2[2-7]\d{2}|35\d{2}|6\d{3})(?:[ -]?\d{4}){3}(?:[ -]?\d{3})?",
    r"3[47]\d{2}[ -]?\d{6}[ -]?\d{5}",
    r"3(?:0[0-5]|[68]\d)\d[ -]?\d{6}[ -]?\d{4}",
)
_QUOTE = r"(?:\\*[\"'])?"
_VALUE = r"([A-Za-z0-9+/_.=%-]{16,})"
_PEM = "-----BEGIN [A-Z ]*PRIVATE KEY-----"
#: Of a key that breaks off, all lines that are there.
_LINES = r"(?:(?:\\{1,8}[rn]|[\r\n])+[A-Za-z0-9+/=]+)+"
#: What says that a value is a secret; the value looks made at random.
_LABELLED = (
    rf"(?i:bearer|basic)[ +]+{_VALUE}",
    r"(?i:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|account[_-]?key)"
    rf"{_QUOTE}\s*[:=]\s*{_QUOTE}{_VALUE}",
)
#: The password in a URL.
_IN_URL = r"://[^/\s:@\"'\\]*:([^/\s@\"'\\\[][^/\s@\"'\\]{2,})@"
#: The secret is the group that matched. Sources: the providers' pages on the form of their keys.
SETS: dict[str, str] = {
    "api-keys": f"{_LEAD}({'|'.join(_KEYS)})",
    "private-keys": f"({_PEM}(?:[^-]|-[^-])*-----END [A-Z ]*PRIVATE KEY-----|{_PEM}{_LINES})",
    "credentials": "|".join((*_LABELLED, _IN_URL)),
    "emails": _LEAD + r"([A-Za-z0-9._%+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}\b)",
    "cards": f"{_LEAD}((?:{'|'.join(_CARDS)})\\b)",
}
#: What stands for a secret is none: a recording is full of them.
MASK = re.compile(rb"MASKED_[A-Z0-9_]+_[0-9a-f]{12}")
_DIGIT, _LETTER = re.compile(rb"\d"), re.compile(rb"[A-Za-z]")
_SAID = re.compile(r"(?<!\\)\(\?P?<[A-Za-z_]\w*>")


class Finder:
    """Looks for what ``rules`` name; ``environ`` is where ``${NAME}`` values come from.

    False where there is nothing to look for. re2.error for a pattern that is none.
    """

    def __init__(
        self, rules: Sequence[RedactRule], environ: Mapping[str, str] | None = None
    ) -> None:
        env = os.environ if environ is None else environ
        self._each: list[tuple[Any, RedactRule]] = []
        sources: list[str] = []
        for rule in rules:
            source = _source(rule, env)
            if source:
                sources.append(f"(?:{source})")
                self._each.append((_compile(source), rule))
        self._any = _compile("|".join(sources)) if sources else None
        #: Whether a pattern holds at the ends of a text only, which are lost where some are joined.
        self.anchored = any(rule.pattern and ANCHORS.search(rule.pattern) for rule in rules)

    def __bool__(self) -> bool:
        return self._any is not None

    def find(self, text: str) -> list[tuple[int, int, str]]:
        """(start, end, rule's name) of each secret in ``text``, from left to right."""
        data = text.encode("utf-8", "surrogatepass")
        found = self.find_bytes(data)
        if len(data) == len(text):
            return found
        return [(_count(data[:a]), _count(data[:b]), name) for a, b, name in found]

    def find_bytes(self, data: bytes) -> list[tuple[int, int, str]]:
        """The same in UTF-8, or what comes near it, with the places in bytes."""
        found: list[tuple[int, int, str]] = []
        if self._any is None:
            return found
        at = 0
        while (match := self._any.search(data, at)) is not None:
            start, longest = match.start(), (-1, -1, "")
            for pattern, rule in self._each:
                here = pattern.match(data, start)
                if here is None:
                    continue
                a, b = here.span(here.lastindex if rule.use else 0)
                if b > longest[1] and b - a >= SHORTEST and _is_one(data, a, b, rule):
                    longest = (a, b, rule.name)
            if longest[1] < 0:
                at = start + 1
            else:
                found.append(longest)
                at = longest[1]
            if at >= len(data):
                break
        return found


def luhn(text: str) -> bool:
    """Whether the digits in ``text`` have the checksum of a card's number."""
    digits = [int(c) for c in text if c.isdigit()]
    has_duplicate_keys = [2 * d - 9 if d > 4 else 2 * d for d in digits[-2::-2]]
    return len(digits) > 11 and (sum(digits[-1::-2]) + sum(has_duplicate_keys)) % 10 == 0


def _is_one(data: bytes, start: int, end: int, rule: RedactRule) -> bool:
    if data[start : start + 7] == b"MASKED_" and MASK.fullmatch(data, start, end):
        return False
    if rule.use == "credentials":
        told = data[start:end]
        if data[end : end + 1] == b"@":
            return told.strip(b"*") != b""
        return bool(_DIGIT.search(told) and _LETTER.search(told))
    if rule.use != "cards":
        return True
    # The digits behind a point are a fraction's.
    return data[start - 1 : start] != b"." and luhn(data[start:end].decode("ascii"))


def _count(data: bytes) -> int:
    return len(data.decode("utf-8", "surrogatepass"))


def _compile(source: str) -> Any:
    return re2.compile(source.encode(), pattern_options())


def _source(rule: RedactRule, env: Mapping[str, str]) -> str:
    if rule.use:
        return SETS[rule.use]
    if rule.pattern:
        # Two rules may have given their groups the same name.
        return _SAID.sub("(", rule.pattern)
    if rule.value:
        if any(not env.get(name) for name in VARIABLE.findall(rule.value)):
            return ""
        value = VARIABLE.sub(lambda m: env[m[1]], rule.value)
        # In what is recorded it stands as JSON writes it.
        written = (json.dumps(value, ensure_ascii=ascii)[1:-1] for ascii in (True, False))
        forms = sorted({value, *written}, key=len, reverse=True)
        return "|".join(map(re2.escape, forms)) if len(value) >= SHORTEST else ""
    return ""
