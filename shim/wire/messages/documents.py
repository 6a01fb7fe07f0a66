"""Files of other protocols as documents of Messages. Source: Anthropic's API reference."""

from __future__ import annotations

import base64
import re
from typing import Any

import msgspec

from ...turn import Part, is_text, text_of

_DATA = re.compile(r"data:([^;,]*)(?:;[^,]*)?;base64,")
_PDF = "application/pdf"


def document_of(part: Part) -> bytes | None:
    """The file ``part`` as a document block; None for one that the API does not take."""
    name = text_of(part.filename) if is_text(part.filename) else ""
    source = None
    if is_text(part.file_data):
        source = _given(text_of(part.file_data), name)
    elif is_text(part.file_url):
        source = {"type": "url", "url": text_of(part.file_url)}
    if source is None:
        return None
    block: dict[str, Any] = {"type": "document", "source": source}
    if name:
        block["title"] = name
    return msgspec.json.encode(block)


def _given(data: str, name: str) -> dict[str, str] | None:
    """The data of a file, which the API takes as a PDF or as plain text."""
    kind = _PDF if name.lower().endswith(".pdf") else ""
    if match := _DATA.match(data):
        kind, data = match[1] or kind, data[match.end() :]
    if kind == _PDF:
        return {"type": "base64", "media_type": _PDF, "data": data}
    if not kind.startswith("text/"):
        return None
    try:
        text = base64.b64decode(data, validate=True).decode()
    except ValueError:
        return None
    return {"type": "text", "media_type": "text/plain", "data": text}
