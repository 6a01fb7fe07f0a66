"""Takes credentials out of what is written down."""

from __future__ import annotations

from collections.abc import Iterable

from ..client import CREDENTIALS

MARK = "[redacted]"
#: Shorter values (``any``, ``none``) are no secrets, and would tear holes into ordinary text.
_SHORTEST = 6


class Redactor:
    """Replaces credentials: headers by name, everything else by the values in ``secrets``."""

    def __init__(self, secrets: Iterable[str]) -> None:
        found = sorted({s for s in secrets if len(s) >= _SHORTEST}, key=len, reverse=True)
        self._values = [s.encode() for s in found]

    def headers(self, fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """``fields`` with the values of credential headers replaced."""
        return [(k, MARK.encode() if k.decode("latin-1").lower() in CREDENTIALS else self.data(v))
                for k, v in fields]

    def data(self, data: bytes) -> bytes:
        """``data`` with every known secret replaced."""
        for value in self._values:
            if value in data:
                data = data.replace(value, MARK.encode())
        return data

    def text(self, text: str) -> str:
        """``text`` with every known secret replaced."""
        return self.data(text.encode()).decode()
