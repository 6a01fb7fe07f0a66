"""What stands in a conversation that no other protocol has a word for: its places, to be told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set

import msgspec

_NOTHING = frozenset({b"null", b"false", b"[]", b"{}", b'""'})


def is_empty(raw: msgspec.Raw) -> bool:
    """Whether a field says nothing."""
    return memoryview(raw).nbytes <= 5 and bytes(raw) in _NOTHING


class Untranslated:
    """The places of fields that are read by nobody, each name once. ``look`` adds those of the
    conversation, when somebody asks."""

    def __init__(
        self, places: Iterable[str] = (), look: Callable[[Untranslated], None] | None = None
    ) -> None:
        self._places = list(places)
        self._names: set[str] = set()
        self._look = look

    @property
    def places(self) -> list[str]:
        """All of them."""
        look, self._look = self._look, None
        if look:
            look(self)
        return self._places

    def add(self, fields: dict[str, msgspec.Raw], known: Set[str], place: str) -> None:
        """The fields of the object at ``place``, besides those that are ``known``."""
        for name in fields.keys() - known - self._names:
            if not is_empty(fields[name]):
                self._names.add(name)
                self._places.append(f"{place}.{name}")
