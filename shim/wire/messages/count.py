"""How many tokens a turn has, about: for ``/messages/count_tokens`` where no upstream counts."""

from __future__ import annotations

from ...turn import Item, Turn

#: Bytes of JSON per token: English and code come to between 3.3 and 4.
_BYTES = 3.6
_IMAGE_TOKENS = 1600
_RAW = ("content", "arguments", "input", "output", "summary")


def count_tokens(turn: Turn) -> int:
    """An estimate of the input tokens of ``turn``; nobody's tokenizer is asked."""
    images = sum(_images(item) for item in turn.items)
    size = sum(len(memoryview(getattr(item, name))) for item in turn.items for name in _RAW)
    size += sum(len(memoryview(raw)) for name in ("tools",) if (raw := turn.fields.get(name)))
    for item in turn.items:
        size -= _image_bytes(item)
    return max(1, round(size / _BYTES) + images * _IMAGE_TOKENS)


def _images(item: Item) -> int:
    return sum(bytes(raw).count(b'"input_image"') for raw in (item.content, item.output))


def _image_bytes(item: Item) -> int:
    """What the data of images takes: it is no text."""
    found = 0
    for raw in (item.content, item.output):
        for piece in bytes(raw).split(b";base64,")[1:]:
            found += piece.find(b'"')
    return found
