"""What stands in a conversation that no other protocol has a word for: its places, to be told."""

from __future__ import annotations

from collections.abc import Iterable, Set

import msgspec

_NOTHING = frozenset({b"null", b"false", b"[]", b"{}", b'""'})


def is_empty(raw: msgspec.Raw) -> bool:
    """Whether a field says nothing."""
    return memoryview(raw).nbytes <= 5 and bytes(raw) in _NOTHING


class Untranslated:
    """The ``places`` of fields that are read by nobody, each name of the conversation once."""

    def __init__(self, places: Iterable[str] = ()) -> None:
        self.places = list(places)
        self._names: set[str] = set()

    def add(self, fields: dict[str, msgspec.Raw], known: Set[str], place: str) -> None:
        """The fields of the object at ``place``, besides those that are ``known``."""
        for name in fields.keys() - known - self._names:
            if not is_empty(fields[name]):
                self._names.add(name)
                self.places.append(f"{place}.{name}")
