"""Finding what must not be seen: the patterns that come with Interpose, and the policy's own.

All are looked for in one pass of RE2, whose time grows with the text only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

import re2

from ..policy.match import pattern_options
from ..policy.rules import RedactRule
from ..policy.warn import VARIABLE

_SHORTEST = 4
#: Sources: the providers' own pages on the form of their keys.
SETS: dict[str, str] = {
    "api-keys": "|".join(
        (
            r"\bsk-(?:ant-|proj-|or-|svcacct-)?[A-Za-z0-9_-]{20,}",
            r"\bgh[pousr]_[A-Za-z0-9]{36,}",
            r"\bgithub_pat_[A-Za-z0-9_]{22,}",
            r"\bglpat-[A-Za-z0-9_-]{20,}",
            r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
            r"\bxox[abposr]-[A-Za-z0-9-]{10,}",
            r"\bAIza[A-Za-z0-9_-]{35}",
            r"\bhf_[A-Za-z0-9]{30,}",
            r"\bnpm_[A-Za-z0-9]{36}",
            r"\bgsk_[A-Za-z0-9]{40,}",
            r"\b(?:sk|rk|pk)_live_[A-Za-z0-9]{20,}",
            r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
        )
    ),
    "private-keys": (
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^-]|-[^-])*-----END [A-Z ]*PRIVATE KEY-----"
    ),
    "emails": r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}\b",
    "cards": r"\b(?:\d[ -]?){12,18}\d\b",
}


class Finder:
    """Looks for what ``rules`` name; ``environ`` is where ``${NAME}`` values come from."""

    def __init__(
        self, rules: Sequence[RedactRule], environ: Mapping[str, str] | None = None
    ) -> None:
        env = os.environ if environ is None else environ
        self._rules: list[RedactRule] = []
        sources: list[str] = []
        for rule in rules:
            source = _source(rule, env)
            if source:
                self._rules.append(rule)
                sources.append(f"(?P<r{len(sources)}>{source})")
        options = pattern_options()
        options.longest_match = True
        self._pattern = re2.compile("|".join(sources), options) if sources else None
        self._names = {f"r{n}": rule.name for n, rule in enumerate(self._rules)}
        self._cards = {f"r{n}" for n, rule in enumerate(self._rules) if rule.use == "cards"}

    def __bool__(self) -> bool:
        return self._pattern is not None

    def find(self, text: str) -> list[tuple[int, int, str]]:
        """(start, end, rule's name) of each secret in ``text``, from left to right."""
        if self._pattern is None or self._pattern.search(text) is None:
            return []
        found = []
        for match in self._pattern.finditer(text):
            for group, name in self._names.items():
                if match.group(group) is not None:
                    said = match.group()
                    if len(said) >= _SHORTEST and (group not in self._cards or luhn(said)):
                        found.append((*match.span(), name))
                    break
        return found


def _source(rule: RedactRule, env: Mapping[str, str]) -> str:
    if rule.use:
        return SETS[rule.use]
    if rule.pattern:
        return rule.pattern
    if rule.value:
        if any(not env.get(name) for name in VARIABLE.findall(rule.value)):
            return ""
        value = VARIABLE.sub(lambda m: env[m[1]], rule.value)
        # In what is recorded it stands as JSON writes it.
        written = (json.dumps(value, ensure_ascii=ascii)[1:-1] for ascii in (True, False))
        forms = dict.fromkeys((value, *written))
        return "|".join(map(re2.escape, forms)) if len(value) >= _SHORTEST else ""
    return ""


def luhn(text: str) -> bool:
    """Whether the digits in ``text`` have the checksum of a card's number."""
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [2 * d - 9 if d > 4 else 2 * d for d in digits[-2::-2]]
    return len(digits) > 11 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
