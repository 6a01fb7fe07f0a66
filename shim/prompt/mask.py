"""Masks: what stands in a prompt in a secret's place, and the table that leads back.

A mask is ``MASKED_<RULE>_<12 hex>``: the same secret has the same mask in a session, so that the
provider's cache keeps hitting; without the session's key nothing can be computed back.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from typing import Any

import msgspec

from .secrets import Finder

_encode = msgspec.json.encode
_decode = msgspec.json.decode
#: Fields that hold ids, names or machine data: a mask there would break the request.
_KEPT = frozenset(
    {
        "type",
        "id",
        "call_id",
        "tool_call_id",
        "tool_use_id",
        "name",
        "namespace",
        "role",
        "status",
        "phase",
        "encrypted_content",
        "signature",
        "data",
        "file_data",
        "image_url",
        "url",
        "media_type",
    }
)
_BEGIN = "MASKED_"
_MOST_SESSIONS = 1000


class Masks:
    """One session's masks; ``table`` maps each to its secret."""

    def __init__(self, finder: Finder, key: bytes) -> None:
        self.finder = finder
        self.table: dict[str, str] = {}
        self._key = key

    def hide(self, text: str) -> str:
        """``text`` with a mask for each secret; the same object when it holds none."""
        found = self.finder.find(text)
        if not found:
            return text
        out, at = [], 0
        for start, end, name in found:
            out += [text[at:start], self._mask(name, text[start:end])]
            at = end
        return "".join([*out, text[at:]])

    def hide_json(self, raw: msgspec.Raw) -> msgspec.Raw:
        """One element of a request without secrets; the same object when it held none."""
        value = _decode(raw)
        hidden = self._walk(value, "")
        return raw if hidden is value else msgspec.Raw(_encode(hidden))

    def _walk(self, value: Any, key: str) -> Any:
        if isinstance(value, str):
            return self._arguments(value) if key == "arguments" else self.hide(value)
        if isinstance(value, dict):
            made = {k: v if k in _KEPT else self._walk(v, k) for k, v in value.items()}
            return made if any(made[k] is not value[k] for k in value) else value
        if isinstance(value, list):
            entries = [self._walk(entry, key) for entry in value]
            same = all(a is b for a, b in zip(entries, value, strict=True))
            return value if same else entries
        return value

    def _arguments(self, text: str) -> str:
        """Arguments are JSON in a text: the secret is what stands there once they are read."""
        try:
            value = _decode(text)
        except (msgspec.DecodeError, UnicodeError):
            return self.hide(text)
        hidden = self._walk(value, "")
        return text if hidden is value else _encode(hidden).decode()

    def _mask(self, name: str, secret: str) -> str:
        mark = hmac.new(self._key, secret.encode(), hashlib.sha256).hexdigest()[:12]
        mask = f"{_BEGIN}{name.upper().replace('-', '_')}_{mark}"
        self.table[mask] = secret
        return mask


class Sessions:
    """The masks of the sessions under way, in memory only."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Masks] = OrderedDict()

    def masks(self, session: str, finder: Finder) -> Masks:
        """The session's masks, by ``finder``; fresh ones where the policy has changed."""
        masks = self._kept.get(session)
        if masks is None or masks.finder is not finder:
            known = masks.table if masks else {}
            masks = self._kept[session] = Masks(finder, session.encode() or b"interpose")
            # What was sent under the former policy may still come back.
            masks.table.update(known)
        self._kept.move_to_end(session)
        if len(self._kept) > _MOST_SESSIONS:
            self._kept.popitem(last=False)
        return masks
