"""Stable pseudonyms: the same name, path, host or id always becomes the same made-up one.

First everything is learnt, then everything is replaced: a user's name that a home folder tells goes
wherever it stands. Pseudonyms hold no quotes or backslashes, so they fit into JSON as they are.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote, unquote

from . import findings as find
from . import hidden, machines

_SHORTEST_NAME = 3
#: Users' names that are words of programs as well.
_WORDS = frozenset(
    {"admin", "app", "build", "code", "data", "dev", "git", "home", "main", "node", "root"}
    | {"src", "test", "tests", "tmp", "ubuntu", "user", "users", "work", "workspace", "debian"}
)
PROJECT = "/workspace/project"
#: An id that is a pseudonym already, or is made of one.
_MADE = re.compile(r"\w*?id\d{10}")


class Pseudonyms:
    """``replace`` are rules of the user's own: patterns, each with what stands in its place;
    ``names`` what goes wherever it stands as a word; ``keep`` are texts that stay, such as seeds.
    """

    def __init__(
        self,
        replace: Sequence[tuple[re.Pattern[str], str]] = (),
        names: Iterable[str] = (),
        keep: Iterable[str] = (),
    ) -> None:
        self._replace = replace
        self._keep = frozenset(keep)
        self._projects: dict[str, str] = {}
        self._names: dict[str, str] = dict.fromkeys((n for n in names if n), find.USER)
        self._hosts: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self._others: dict[tuple[str, str], str] = {}
        self._words: re.Pattern[str] | None = None
        self._known_texts: dict[str, str] = {}

    def project(self, folder: str) -> None:
        """Learn the folder an agent works in."""
        if len(folder) > 1 and folder not in self._projects and not folder.startswith(PROJECT):
            more = f"-{len(self._projects) // 2 + 1}" if self._projects else ""
            # Claude Code names folders of its own after a project's path.
            made = PROJECT + more
            self._projects |= {folder: made, _dashed(folder): _dashed(made)}
            self._words = None

    def learn(self, text: str) -> None:
        """Take up the names, hosts and ids in ``text``."""
        for match in find.WHOSE_HOME.finditer(text):
            name = match[2]
            known = name.lower() in _WORDS or len(name) < _SHORTEST_NAME
            if find.tells_a_name(name) and not known:
                self._names.setdefault(name, find.USER)
        for match in find.URL_HOST.finditer(text):
            self.host(match[1])
        for match in (*find.host_names(text), *machines.addresses(text)):
            self.host(match[1])
        for match in find.ID.finditer(text):
            core = match[1]
            if not _MADE.match(core) and not any(core.startswith(k[:8]) for k in self._keep):
                self._ids.setdefault(core, "")
        self._words = None

    def host(self, host: str) -> str:
        """The pseudonym of a host; one that everybody knows keeps its name."""
        if not host or find.is_known_host(host):
            return host
        if host not in self._hosts:
            number = len(self._hosts) + 1
            is_address = re.fullmatch(r"[\d.]+|.*:.*", host)
            made = f"192.0.2.{number % 256}" if is_address else f"host-{number}.example"
            self._hosts[host] = made
        return self._hosts[host]

    def text(self, text: str) -> str:
        """``text`` with pseudonyms; the same object where it holds nothing to replace."""
        if self._words is None:
            self._words = self._learnt()
            self._known_texts.clear()
        if (known := self._known_texts.get(text)) is not None:
            return known
        made = hidden.in_escapes(text.encode("utf-8", "surrogatepass"), self._bytes)
        # A conversation is in every one of its turns.
        self._known_texts[text] = made.decode("utf-8", "surrogatepass")
        return self._known_texts[text]

    def _bytes(self, data: bytes) -> bytes:
        text = data.decode("utf-8", "surrogatepass")
        made = find.BASE64.sub(self._inside, self._plain(find.cleared(text)))
        made = find.QUOTED.sub(self._quoted, made) if "%" in made else made
        return made.encode("utf-8", "surrogatepass")

    def _plain(self, text: str) -> str:
        made = text
        for pattern, by in self._replace:
            made = pattern.sub(by, made)
        for finding in reversed(find.keys(made)):
            secret = made[finding.start : finding.end]
            made = made[: finding.start] + self._made("KEY", secret) + made[finding.end :]
        made = find.EMAIL.sub(self._email, made)
        assert self._words
        made = self._words.sub(self._learnt_by, made)
        made = find.HOME.sub(self._home, made)
        made = find.MAC_TEMPORARY.sub(lambda m: m[1] + self._made("folder", m[2]), made)
        made = find.TEMPORARY.sub(self._temporary, made)
        made = find.UUID.sub(self._uuid, made)
        made = find.PRIVATE_ADDRESS.sub(lambda m: self.host(m[0]), made)
        return text if made == text else made

    def _learnt(self) -> re.Pattern[str]:
        """What finds everything that was learnt, the longest first."""
        # An id that is made of another follows it.
        cores = sorted(self._ids, key=len)
        kept: list[str] = []
        for core in cores:
            if not any(other in core for other in kept):
                kept.append(core)
        self._ids = {core: self._ids.get(core) or f"id{n:010}" for n, core in enumerate(kept, 1)}
        words = [
            *(re.escape(p) + r"(?![\w.-]*\w)" for p in _longest(self._projects)),
            *(re.escape(c) for c in _longest(self._ids)),
            *(
                rf"(?:(?<=\\[nrtbf])|(?<![\w.-])){re.escape(h)}(?![\w-])"
                for h in _longest(self._hosts)
            ),
            *(rf"{find.START}{re.escape(n)}(?![A-Za-z0-9])" for n in _longest(self._names)),
        ]
        return re.compile("|".join(words) or r"(?!)")

    def _learnt_by(self, match: re.Match[str]) -> str:
        for table in (self._projects, self._ids, self._hosts, self._names):
            if (made := table.get(match[0])) is not None:
                return made
        return match[0]

    def _home(self, match: re.Match[str]) -> str:
        return match[1] + find.USER if find.tells_a_name(match[2]) else match[0]

    def _temporary(self, match: re.Match[str]) -> str:
        if re.fullmatch(r"folder-\d+", match[2]):
            return match[0]
        return match[1] + self._made("folder", match[2])

    def _email(self, match: re.Match[str]) -> str:
        if find.is_nobodys(match[0]):
            return match[0]
        return f"{self._made('user', match[0])}@example.com"

    def _uuid(self, match: re.Match[str]) -> str:
        if match[0].startswith("00000000-0000-7000-8000-"):
            return match[0]
        number = self._made("uuid", match[0].lower()).rpartition("-")[2]
        return f"00000000-0000-7000-8000-{int(number):012}"

    def _inside(self, match: re.Match[str]) -> str:
        """Base64 of a text, which may hold the same things."""
        inside = find.decoded(match[0])
        if inside is None:
            return match[0]
        made = self._plain(inside)
        if made == inside:
            return match[0]
        return base64.b64encode(made.encode()).decode()

    def _quoted(self, match: re.Match[str]) -> str:
        """The same for what is written as URLs write it."""
        inside = unquote(match[0])
        made = self._plain(inside)
        return match[0] if made == inside else quote(made, safe=match[0].replace("%", "") + "[]")

    def _made(self, kind: str, given: str) -> str:
        at = (kind, given)
        if at not in self._others:
            number = sum(k == kind for k, _ in self._others) + 1
            self._others[at] = f"[redacted-{number}]" if kind == "KEY" else f"{kind}-{number}"
        return self._others[at]


def _dashed(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "-", path)


def _longest(found: Iterable[str]) -> list[str]:
    return sorted(found, key=len, reverse=True)
