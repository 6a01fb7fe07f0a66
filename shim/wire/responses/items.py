"""The items of a Responses answer that an upstream sends, told apart.

Servers give an item an ``output_index``, an id, both or neither; some give all items the same
index, some an item another id in each event. A call's ``call_id`` is the surest.
"""

from __future__ import annotations

from typing import Any

from ..lenient import name_of, number

CALLS = ("function_call", "custom_tool_call")


class Item:
    """One item under way. ``streamed``: its text came as deltas; ``pieces`` are those of a call's
    arguments, ``key`` is None until the call has begun."""

    __slots__ = ("added", "call_id", "done", "id", "index", "key", "kind", "pieces", "streamed")

    def __init__(self, kind: str, index: int | None, id: str, call_id: str = "") -> None:
        self.kind, self.index, self.id, self.call_id = kind, index, id, call_id
        self.key: int | None = None
        self.pieces: list[str] = []
        self.streamed = self.done = self.added = False


class Items:
    """All items of an answer, in the order in which they were first heard of."""

    def __init__(self) -> None:
        self.all: list[Item] = []

    def of_delta(self, event: dict[str, Any], *kinds: str) -> Item:
        """The item that a delta belongs to, which is of one of ``kinds``."""
        id, index = name_of(event.get("item_id")), number(event.get("output_index"))
        fitting = [item for item in reversed(self.all) if item.kind in kinds]
        for item in fitting:
            if id and item.id == id:
                return item
        for item in fitting:
            other = id and item.id and index is None
            if not (item.done or other) and (index is None or item.index in (index, None)):
                return item
        return self._new(Item(kinds[0], index, id))

    def added(self, event: dict[str, Any], data: dict[str, Any]) -> Item:
        """The item that begins with an event."""
        new = _item(event, data)
        same = self._known(new, self.all)
        if same is None:
            heard = (i for i in reversed(self.all) if not (i.added or i.done) and _like(i, new))
            same = next((i for i in heard if i.index == new.index), None)
        item = _named(same, new) if same else self._new(new)
        item.added = True
        return item

    def done(self, event: dict[str, Any], data: dict[str, Any]) -> Item:
        """The item that an event ends."""
        new = _item(event, data)
        if same := self._known(new, self.all):
            return _named(same, new)
        alike = [item for item in reversed(self.all) if _like(item, new)]
        for item in alike:
            other = new.index is None and new.id and item.id
            if item.index == new.index and not (item.done or other):
                return _named(item, new)
        for item in alike:
            if item.index == new.index is not None and not (item.id and new.id):
                return _named(item, new)
        return self._new(new)

    def final(self, output: list[dict[str, Any]]) -> list[Item]:
        """The items of the whole response, which may be new."""
        expected = [_item({"output_index": n}, data) for n, data in enumerate(output)]
        free = list(self.all)
        matched: dict[int, Item] = {}
        for exact in (True, False):
            for n, new in enumerate(expected):
                if n in matched:
                    continue
                alike = [item for item in free if _like(item, new)]
                here = [item for item in alike if item.index == new.index]
                if same := self._known(new, free) if exact else next(iter(here + alike), None):
                    free.remove(same)
                    matched[n] = _named(same, new)
        return [matched.get(n) or self._new(new) for n, new in enumerate(expected)]

    def _new(self, item: Item) -> Item:
        self.all.append(item)
        return item

    @staticmethod
    def _known(new: Item, among: list[Item]) -> Item | None:
        for item in reversed(among):
            if new.call_id and item.call_id == new.call_id and item.kind == new.kind:
                return item
        for item in reversed(among):
            if new.id and item.id == new.id and _like(item, new):
                return item
        return None


def _item(event: dict[str, Any], data: dict[str, Any]) -> Item:
    kind, index = name_of(data.get("type")), number(event.get("output_index"))
    return Item(kind, index, name_of(data.get("id")), name_of(data.get("call_id")))


def _like(item: Item, new: Item) -> bool:
    """Whether ``item`` may be ``new``: two calls are not one."""
    apart = item.call_id and new.call_id and item.call_id != new.call_id
    return item.kind == new.kind and not apart


def _named(item: Item, new: Item) -> Item:
    item.call_id = item.call_id or new.call_id
    item.id = item.id or new.id
    return item
