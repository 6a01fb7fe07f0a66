"""The pages of stored responses: the response itself, its input items, its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..turn import WireError
from .conversations import Kept

_MOST_ITEMS = 100


def response_page(kept: Kept) -> bytes:
    """The body of ``GET /responses/{id}``. Source: OpenAI's reference of Get a model response."""
    page: dict[str, Any] = msgspec.json.decode(kept.response)
    parent = kept.parent[0] if kept.parent else None
    return msgspec.json.encode({**page, "previous_response_id": parent, "store": True})


def items_page(id: str, pieces: list[bytes], query: Mapping[str, str]) -> bytes:
    """The body of ``GET /responses/{id}/input_items``, newest first unless ``order`` is asc.

    ``query`` may hold order, limit (1 to 100, else 20) and after (an item's id). WireError names
    what is not valid. Source: OpenAI's reference of List input items.
    """
    items: list[Any] = msgspec.json.decode(b"[%b]" % b",".join(pieces))
    suffix = id.removeprefix("resp_")
    for number, item in enumerate(items):
        if isinstance(item, dict) and not item.get("id"):
            item["id"] = f"item_{suffix}{number:03d}"
        if isinstance(item, dict) and isinstance(item.get("content"), str):
            kind = "output_text" if item.get("role") == "assistant" else "input_text"
            item["content"] = [{"type": kind, "text": item["content"]}]
    order, after = query.get("order", "desc"), query.get("after")
    if order not in ("asc", "desc"):
        raise WireError(f"order must be asc or desc, is {order}", param="order")
    limit = query.get("limit", "20")
    if not limit.isdigit() or not 1 <= int(limit) <= _MOST_ITEMS:
        raise WireError(f"limit must be 1 to {_MOST_ITEMS}, is {limit}", param="limit")
    if order == "desc":
        items.reverse()
    if after is not None:
        ids = [item["id"] for item in items]
        if after not in ids:
            raise WireError(f"after names no item of this response: {after}", param="after")
        items = items[ids.index(after) + 1 :]
    page = items[: int(limit)]
    return msgspec.json.encode(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(items) > len(page),
        }
    )


def deleted_page(id: str) -> bytes:
    """The body of ``DELETE /responses/{id}``."""
    return msgspec.json.encode({"id": id, "object": "response", "deleted": True})
