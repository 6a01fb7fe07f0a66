"""Takes credentials out of what is written down."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

import msgspec

from ..client import is_credential
from ..prompt.mask import Masks
from . import deltas, hidden

MARK = "[redacted]"
#: Shorter values (``any``, ``none``) are no secrets, and would tear holes into ordinary text.
_SHORTEST = 6


class Redactor:
    """Replaces credentials: headers and query parameters by name, everything else by the values in
    ``secrets``, as they stand and as URLs, JSON and Base64 write them.

    ``masks``: what a policy's rules find gets its mask besides; ``blobs_over`` bytes, Base64 data
    becomes a hash.
    """

    def __init__(
        self, secrets: Iterable[str], masks: Masks | None = None, blobs_over: int | None = None
    ) -> None:
        self._masks = masks if masks and masks.finder else None
        self._blobs = None
        if blobs_over is not None:
            self._blobs = re.compile(rb"[A-Za-z0-9+/]{%d,}={0,2}" % max(64, blobs_over))
        found = sorted({s for s in secrets if len(s) >= _SHORTEST}, key=len, reverse=True)
        self._values = list(dict.fromkeys(form for s in found for form in _forms(s)))
        self._plain = [s.encode() for s in found]

    @property
    def forms(self) -> list[bytes]:
        """What its secrets look like where they are written."""
        return self._values

    @cached_property
    def _mark(self) -> Any:
        """Finds what cannot be missing where a known secret hides. What rules find, and what is to
        be shortened, has no such form."""
        if self._masks or self._blobs is not None:
            return None
        return hidden.marks(self._values)

    def about(self, texts: Iterable[bytes]) -> Redactor:
        """This one, or where nothing can hide in any of ``texts`` one that does not look at what
        they say again: what their names tell is always taken out."""
        if self._blobs is not None or (self._masks and self._masks.finder.anchored):
            return self
        found: list[bytes] = []
        for text in texts:
            if (events := deltas.as_stream(text)) is not None:
                # A rule may ask what stands around a piece.
                text = text if self._masks else deltas.shortened(events)
                if (said := deltas.said(events if self._masks else text)) is None:
                    return self
                found += [piece.encode("utf-8", "surrogatepass") for piece in said]
            found.append(text)
        return self if self._may_hide(b"\0".join(found)) else CLEAN

    def _may_hide(self, data: bytes) -> bool:
        if self._mark:
            return hidden.may_hide(data, self._mark)
        return hidden.in_escapes(data, self._whole) != data

    def headers(self, fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """``fields`` with the values of credential headers replaced."""
        return [
            (k, MARK.encode() if is_credential(k.decode("latin-1")) else self.deep(v))
            for k, v in fields
        ]

    def path(self, path: str) -> str:
        """A request path with its query's credentials replaced."""
        return self.text(
            _PARAMETER.sub(lambda m: m[1] + MARK if is_credential(m[1][1:-1]) else m[0], path)
        )

    def data(self, data: bytes) -> bytes:
        """``data`` with every secret replaced that stands in it as it is."""
        for value in self._values:
            if value in data:
                data = data.replace(value, MARK.encode())
        if self._masks:
            data = self._masks.hide_bytes(data)
        return self._blobs.sub(_blob, data) if self._blobs else data

    def deep(self, data: bytes) -> bytes:
        """The same, and those that hide: in Base64, URLs, needless escapes, what pictures tell
        besides, and pieces of a stream. The same object where there is nothing."""
        if self._mark and not self._may_hide(data):
            return self._pieces(data)
        return self._pieces(hidden.in_escapes(data, self._whole))

    def _pieces(self, data: bytes) -> bytes:
        if not self._values and not self._masks:
            return data
        return hidden.in_pieces(data, lambda piece: hidden.in_escapes(piece, self._whole))

    def text(self, text: str) -> str:
        """``text`` with every secret replaced, hidden or not."""
        return self.deep(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def _whole(self, data: bytes) -> bytes:
        data = self.data(hidden.pictures(data))
        if not self._values and not self._masks:
            return data
        return hidden.in_urls(hidden.in_base64(data, self._fill), self.data)

    def _fill(self, data: bytes) -> bytes:
        # Base64 in Base64: what a model thought travels packed, whatever it thought of.
        return hidden.in_base64(self._stars(data), self._stars)

    def _stars(self, data: bytes) -> bytes:
        return hidden.starred(data, self._spans)

    def _spans(self, data: bytes) -> list[tuple[int, int]]:
        here = [re.escape(value) for value in self._plain if value in data]
        found = [match.span() for value in here for match in re.finditer(value, data)]
        if self._masks:
            found += [(start, end) for start, end, _ in self._masks.finder.find_bytes(data)]
        return found


class _Clean(Redactor):
    """For what was searched already."""

    def deep(self, data: bytes) -> bytes:
        return data

    def text(self, text: str) -> str:
        return text


CLEAN = _Clean(())


@lru_cache(maxsize=64)
def redactor(secrets: frozenset[str]) -> Redactor:
    """The Redactor for ``secrets``, made once."""
    return Redactor(secrets)


def _blob(match: re.Match[bytes]) -> bytes:
    mark = hashlib.sha256(match[0]).hexdigest()[:16]
    return f"[blob sha256:{mark} {len(match[0])} bytes]".encode()


_PARAMETER = re.compile(r"([?&][^=&]*=)[^&]*")


def _forms(secret: str) -> Iterator[bytes]:
    """What ``secret`` looks like in the places it may be written to."""
    yield secret.encode()
    for text in (quote(secret), quote(secret, safe=""), quote_plus(secret)):
        yield text.encode()
    escaped = msgspec.json.encode(secret)[1:-1]
    yield escaped
    yield escaped.replace(b"/", b"\\/")
    yield json.dumps(secret)[1:-1].encode()
    yield base64.b64encode(secret.encode()).rstrip(b"=")
