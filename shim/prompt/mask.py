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
from ..wire.unmask import Table
from .secrets import Finder
from .strings import is_kept, settled, strings

_MOST_SESSIONS = 1000
#: A shorter secret that came back may stand in any other word.
_TELLING = 8


class Masks:
    """One session's masks; ``table`` maps each to its secret.

    ``written``: texts are JSON as it stands, so a secret's escapes are read before its mask is
    made, and it is the same as in the text itself.
    """

    def __init__(self, finder: Finder, key: bytes, *, written: bool = False) -> None:
        self.finder = finder
        self.table = Table(self.hide)
        self._key = key
        self._written = written
        self._used = 0
        self._known: Any = None

    def hide(self, text: str) -> str:
        """``text`` with a mask for each secret; the same object when it holds none."""
        data = text.encode("utf-8", "surrogatepass")
        hidden = self.hide_bytes(data)
        return text if hidden is data else hidden.decode("utf-8", "surrogatepass")

    def hide_bytes(self, data: bytes, *, anew: bool = True) -> bytes:
        """The same of UTF-8, or what comes near it. Without ``anew``: only what has a mask."""
        out, at = [], 0
        for start, end, name in self._found(data):
            secret = data[start:end].decode("utf-8", "surrogateescape")
            mask = self._mask(name, secret) if name else self.table.used[secret]
            if anew:
                self.table[mask] = secret
            elif mask not in self.table:
                continue
            out += [data[at:start], mask.encode()]
            at = end
        return b"".join([*out, data[at:]]) if at else data

    def hide_json(self, raw: msgspec.Raw) -> msgspec.Raw:
        """One element of a request without secrets; the same object when it held none.

        Only the strings that held one differ, byte for byte. Ids, types and data stay.
        """
        value = settled(raw)
        if not self._holds(value):
            return raw
        made = self._spliced(bytes(raw), thinks=_thoughts(value))
        return raw if made is None else msgspec.Raw(made)

    def _holds(self, value: Any, key: str = "", free: bool = False) -> bool:
        """Whether a secret may be in decoded JSON, quickly."""
        if isinstance(value, str):
            return bool(self._found(value.encode("utf-8", "surrogatepass")))
        if isinstance(value, dict):
            for k, v in value.items():
                if free or not is_kept(k):
                    inside = free or (k in _FREE and isinstance(v, dict))
                    if self._holds(v, k, inside):
                        return True
            return False
        return isinstance(value, list) and any(self._holds(v, key, free) for v in value)
