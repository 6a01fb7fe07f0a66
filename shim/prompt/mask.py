"""Masks: what stands in a prompt in a secret's place, and the table that leads back.

A mask is ``MASKED_<RULE>_<12 hex>``: the same secret has the same mask in a session, so that the
provider's cache keeps hitting; without the session's key nothing can be computed back.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgspec
import re2

from ..json_text import (
    WireError,
    format_path,
    has_duplicate_keys,
    join_place,
    without_duplicate_keys,
)
from ..policy.match import pattern_options
from ..strings import STATE, Leaf, Path, is_plain_words, string_leaves
from ..wire.masks import Table
from .pieces import TOOL_NAMES, Piece, immutable_name, is_signed
from .secrets import SHORTEST, Finder
from .splice import readable_value, spliced

_MOST_SESSIONS = 1000
#: What is shorter may stand in any other word.
_TELLING = 8
#: So many strings of so many characters are known to hold none.
_SHORT, _MOST_CLEAN = 64, 4096
#: Fields in which not every secret may have its mask, or not simply.
_SPECIAL = STATE | TOOL_NAMES | {"thinking", "arguments", "name"}
_STATE_OF_CHAT = ("reasoning_details",)
_GIVEN = (("arguments",), ("input",))
_MAY_OPEN = tuple("{[ \t\r\n")
#: Between label and end of a mask: a line and twelve digits.
_MARK = 13


class Unmaskable(Exception):
    """A secret stands where nothing may be changed; ``rule`` is the one that finds it."""

    def __init__(self, message: str, rule: str) -> None:
        super().__init__(message)
        self.rule = rule


class Masks:
    """One session's masks; ``table`` maps each to its secret.

    ``as_json``: texts are JSON as it stands; a secret's escapes are read before its mask is made,
    so that it is the mask it has in the text itself.
    """

    def __init__(self, finder: Finder, key: bytes, *, as_json: bool = False) -> None:
        self.finder = finder
        self.table = Table(self._holds)
        self._key = key
        self._as_json = as_json
        #: Masks that secrets have already, by whatever rule.
        self.named: dict[bytes, str] = {}
        self._used: Any = None
        self._used_count = 0
        #: Short strings without a secret in them, such as the names of tools: they come in every
        #: call.
        self._clean: set[str] = set()

    def hide(self, text: str) -> str:
        """``text`` with a mask for each secret; the same object when it holds none."""
        if len(text) < SHORTEST or self._is_clean(text):
            return text
        data = text.encode("utf-8", "surrogatepass")
        hidden = self.hide_bytes(data)
        if hidden is data and len(text) <= _SHORT and len(self._clean) < _MOST_CLEAN:
            self._clean.add(text)
        return text if hidden is data else hidden.decode("utf-8", "surrogatepass")

    def hide_bytes(self, data: bytes, *, anew: bool = True) -> bytes:
        """The same for UTF-8, or what comes near it. Without ``anew`` only what has a mask."""
        out, at = [], 0
        for start, end, name in self._found(data):
            mask = self._mask(name, data[start:end])
            if anew:
                self.table[mask] = data[start:end].decode("utf-8", "surrogateescape")
            elif mask not in self.table:
                continue
            out += [data[at:start], mask.encode()]
            at = end
        return b"".join([*out, data[at:]]) if out else data

    def hide_json(
        self, raw: msgspec.Raw, place: str = "", *, values: frozenset[str] = frozenset()
    ) -> msgspec.Raw:
        """One element of a request without secrets; the same object when it held none. Unmaskable
        where one stands in ``place`` as what may not be changed, such as the name of a tool.

        Only strings that held one differ; ids, kinds and data never do, but below ``values``.
        """
        value, has_surrogates = readable_value(raw, place)
        if has_duplicate_keys(bytes(raw), value):
            raw = without_duplicate_keys(raw, place)
        changes: dict[Path, str] = {}
        for leaf in string_leaves(value, values=values):
            text = leaf.text
            special = leaf.field in _SPECIAL or leaf.path[:1] == _STATE_OF_CHAT
            hidden = self._hidden(leaf, place) if special else self.hide(text)
            if hidden is not text and hidden != text:
                changes[leaf.path] = hidden
        return spliced(raw, changes, has_surrogates=has_surrogates) if changes else raw

    def clean(self, elements: Sequence[Sequence[Piece] | None]) -> list[bool]:
        """Which of ``elements``, by their pieces, surely hold no secret: many are searched at once.
        None is an element that has to be looked at by itself."""
        if self.finder.anchored or self.table.thoughts:
            return [False] * len(elements)
        texts = [None if pieces is None else _text_of(pieces) for pieces in elements]
        clean = [text is not None for text in texts]
        todo = [(0, len(texts))]
        while todo:
            first, end = todo.pop()
            if not self._holds("\n".join(text for text in texts[first:end] if text)):
                continue
            if end - first == 1:
                clean[first] = False
            else:
                middle = (first + end) // 2
                todo += [(first, middle), (middle, end)]
        return clean

    def _hidden(self, leaf: Leaf, place: str) -> str:
        """The string of ``leaf`` without secrets; its field has a meaning of its own."""
        text, holder = leaf.text, leaf.holder
        if leaf.free:
            return self.hide(text)
        if leaf.path[:1] == _STATE_OF_CHAT or (leaf.field in STATE and not is_plain_words(text)):
            # Its upstream wrote it, and wants it back as it was.
            return text
        if leaf.field == "thinking" and holder and is_signed(holder):
            return self._thought(text, holder["signature"])
        if leaf.field == "arguments":
            return self._arguments(text)
        if (reason := immutable_name(leaf)) is None:
            return self.hide(text)
        if self.hide(text) is not text:
            location = join_place(place, format_path(leaf.path))
            rule = self._found(text.encode("utf-8", "surrogatepass"))[0][2]
            raise Unmaskable(f"{location} may not be masked: {reason}", rule)
        return text

    def _arguments(self, text: str) -> str:
        """The arguments of a call: the strings in them where they are JSON, else all of it."""
        data = text.encode("utf-8", "surrogatepass")
        try:
            value, has_surrogates = readable_value(data)
        except WireError:
            return self.hide(text)
        if not isinstance(value, dict | list):
            return self.hide(text)
        if has_duplicate_keys(data, value):
            data = bytes(without_duplicate_keys(msgspec.Raw(data)))
        changes = {
            leaf.path: hidden
            for leaf in string_leaves(value, free=True)
            if (hidden := self.hide(leaf.text)) != leaf.text
        }
        if changes:
            data = bytes(spliced(msgspec.Raw(data), changes, has_surrogates=has_surrogates))
        return data.decode("utf-8", "surrogatepass")

    def _is_clean(self, text: str) -> bool:
        # What a model has put to use since may make it none.
        return self._used_count == len(self.table.used) and text in self._clean

    def _holds(self, text: str) -> bool:
        return bool(self._found(text.encode("utf-8", "surrogatepass")))

    def _thought(self, text: str, signature: str) -> str:
        """It must be what the upstream has signed; what it says by itself is no secret there."""
        thought = self.table.thoughts.get(signature)
        if thought is not None:
            return thought
        known = self.hide_bytes(text.encode("utf-8", "surrogatepass"), anew=False)
        return known.decode("utf-8", "surrogatepass")

    def _found(self, data: bytes) -> list[tuple[int, int, str]]:
        """What is to be masked; also what a model has put where no rule would find it."""
        found = self.finder.find_bytes(data)
        if self._used_count != len(self.table.used):
            self._used_count = len(self.table.used)
            self._clean.clear()
            forms = [s for s in list(self.table.used) if len(s) >= _TELLING]
            forms.sort(key=len, reverse=True)
            source = "|".join(map(re2.escape, forms)).encode()
            self._used = re2.compile(source, pattern_options()) if forms else None
        if self._used is None:
            return found
        for match in self._used.finditer(data):
            mask = self.table.used[match.group().decode()]
            found.append((*match.span(), mask[len(Table.BEGIN) : -_MARK]))
        return _joined(found)

    def _mask(self, name: str, secret: bytes) -> str:
        if self._as_json and b"\\" in secret:
            try:
                secret = json.loads(b'"%b"' % secret).encode("utf-8", "surrogatepass")
            except ValueError:
                pass
        if (known := self.named.get(secret)) is not None:
            return known
        mark = hmac.new(self._key, secret, hashlib.sha256).hexdigest()[: _MARK - 1]
        return f"{Table.BEGIN}{name.upper().replace('-', '_')}_{mark}"


def _text_of(pieces: Sequence[Piece]) -> str | None:
    """All that ``pieces`` say, what a call is given as its tool reads it; None where only a closer
    look can tell."""
    texts: list[str] = []
    for piece in pieces:
        text = piece.first
        if piece.path[-1:] not in _GIVEN or text[:1] not in _MAY_OPEN:
            texts.append(text)
            continue
        data = text.encode("utf-8", "surrogatepass")
        try:
            value, _ = readable_value(data)
        except WireError:
            texts.append(text)
            continue
        if has_duplicate_keys(data, value):
            return None
        texts += [leaf.text for leaf in string_leaves(value, free=True)]
        if piece.path[-1] == "input":
            # The input of a freeform tool is a text, whatever it looks like.
            texts.append(text)
    return "\n".join(texts)


def _joined(found: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Places that overlap as one: a part of a secret is one, too."""
    made: list[tuple[int, int, str]] = []
    for start, end, name in sorted(found, key=lambda f: (f[0], -f[1])):
        if made and start < made[-1][1]:
            made[-1] = (made[-1][0], max(end, made[-1][1]), made[-1][2])
        else:
            made.append((start, end, name))
    return made


class Sessions:
    """The masks of the sessions under way, in memory only.

    ``secret``: what their keys are made of besides the session's name, which others may know.
    """

    def __init__(self, secret: bytes = b"") -> None:
        self._secret = secret
        self._kept: OrderedDict[str, Masks] = OrderedDict()

    def key(self, session: str) -> str:
        """What makes the session's masks; a recorder that is given it makes the same."""
        if not self._secret:
            return session
        return hmac.new(self._secret, session.encode(), hashlib.sha256).hexdigest()

    def masks(self, session: str, finder: Finder) -> Masks:
        """The session's masks, by ``finder``; fresh ones where the policy has changed."""
        masks = self._kept.get(session)
        if masks is None or masks.finder is not finder:
            former = masks.table if masks else None
            masks = self._kept[session] = Masks(finder, self.key(session).encode() or b"interpose")
            if former is not None:
                # What was sent under the former policy may still come back.
                masks.table.follow(former)
        self._kept.move_to_end(session)
        if len(self._kept) > _MOST_SESSIONS:
            self._kept.popitem(last=False)
        return masks
