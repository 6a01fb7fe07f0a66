"""Masks: what stands in a prompt in a secret's place, and the table that leads back.

A mask is ``MASKED_<RULE>_<12 hex>``: the same secret has the same mask in a session, so that the
provider's cache keeps hitting; without the session's key nothing can be computed back.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import OrderedDict
from typing import Any

import msgspec
import re2

from ..policy.match import pattern_options
from ..wire.masks import Table
from .secrets import Finder
from .strings import is_data, is_json, places, texts, value_of, written

_MOST_SESSIONS = 1000
#: What is shorter may stand in any other word.
_TELLING = 8
#: Between label and end of a mask: a line and twelve digits.
_MARK = 13


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
        self._used: Any = None
        self._used_count = 0

    def hide(self, text: str) -> str:
        """``text`` with a mask for each secret; the same object when it holds none."""
        data = text.encode("utf-8", "surrogatepass")
        hidden = self.hide_bytes(data)
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

    def hide_json(self, raw: msgspec.Raw) -> msgspec.Raw:
        """One element of a request without secrets; the same object when it held none.

        Only strings that held one differ; ids, kinds and data never do.
        """
        value = value_of(raw)
        signed = _signed(value)
        made: dict[str, str] = {}
        for text in texts(value):
            if not is_data(text):
                hidden = self._thought(text, signed[text]) if text in signed else self.hide(text)
                if hidden != text:
                    made[text] = hidden
        if not made:
            return raw
        return msgspec.Raw(self._spliced(bytes(raw), made, signed))

    def _holds(self, text: str) -> bool:
        return bool(self._found(text.encode("utf-8", "surrogatepass")))

    def _thought(self, text: str, signature: str) -> str:
        """It must be what the upstream has signed; what it says by itself is no secret there."""
        thought = self.table.thoughts.get(signature)
        if thought is not None:
            return thought
        known = self.hide_bytes(text.encode("utf-8", "surrogatepass"), anew=False)
        return known.decode("utf-8", "surrogatepass")

    def _spliced(
        self, raw: bytes, made: dict[str, str], signed: dict[str, str], *, free: bool = False
    ) -> bytes:
        """``raw`` with the strings in ``made`` replaced; all but them stays, byte for byte."""
        out, at = [], 0
        for start, end, field in places(raw, free=free):
            text = value_of(raw[start:end])
            hidden = made.get(text, text)
            if text in signed and field != "thinking":
                # The same words elsewhere are not signed.
                hidden = self.hide(text)
            elif field == "arguments" and hidden == text:
                inner = text.encode("utf-8", "surrogatepass")
                if is_json(inner):
                    inner = self._spliced(inner, made, {}, free=True)
                    hidden = inner.decode("utf-8", "surrogatepass")
            if hidden != text:
                out += [raw[at:start], written(hidden)]
                at = end
        return b"".join([*out, raw[at:]]) if out else raw

    def _found(self, data: bytes) -> list[tuple[int, int, str]]:
        """What is to be masked; also what a model has put where no rule would find it."""
        found = self.finder.find_bytes(data)
        if self._used_count != len(self.table.used):
            self._used_count = len(self.table.used)
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
        mark = hmac.new(self._key, secret, hashlib.sha256).hexdigest()[: _MARK - 1]
        return f"{Table.BEGIN}{name.upper().replace('-', '_')}_{mark}"


def _joined(found: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Places that overlap as one: a part of a secret is one, too."""
    made: list[tuple[int, int, str]] = []
    for start, end, name in sorted(found, key=lambda f: (f[0], -f[1])):
        if made and start < made[-1][1]:
            made[-1] = (made[-1][0], max(end, made[-1][1]), made[-1][2])
        else:
            made.append((start, end, name))
    return made


def _signed(value: Any) -> dict[str, str]:
    """The thoughts of a message of Anthropic's, each with its signature."""
    content = value.get("content") if isinstance(value, dict) else None
    blocks = content if isinstance(content, list) else ()
    return {
        block["thinking"]: block["signature"]
        for block in blocks
        if isinstance(block, dict)
        and isinstance(block.get("thinking"), str)
        and isinstance(block.get("signature"), str)
        and block["signature"]
    }


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
