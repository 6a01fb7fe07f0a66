"""An answer's bytes on the wire: what was planned for it, in the protocol of whoever was asked."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from addons.flowfile import read
from tests.fuzz import stories
from tests.fuzz.case import Answer, Edit, Story
from tests.fuzz.mutations import edited, written
from tests.fuzz.requests import packed

_ROOT = Path(__file__).resolve().parents[2]
_MASK = re.compile(r"@mask:(\d)@")
_STREAM, _KEY = b"text/event-stream", b"@key@"
Fields = tuple[tuple[bytes, bytes], ...]


@cache
def recordings(protocol: str) -> list[bytes]:
    """The streams that are recorded of a protocol; a line is ``data:`` in those of chunks."""
    found: list[bytes] = []
    for path in sorted((_ROOT / "flows").glob("*.flow")):
        for one in read(path):
            answer = one.upstream_response
            route = one.row["route"]
            kind = answer.headers.get("content-type", "") if answer else ""
            if answer and kind.startswith("text/event-stream") and isinstance(route, dict):
                found += [answer.body] * (route.get("protocol") == protocol)
    for path in sorted((_ROOT / "tests" / "fixtures" / "streams").glob(f"*-{protocol}__*.sse")):
        found.append(path.read_bytes())
    if protocol == "messages":
        streams = _ROOT / "tests" / "fixtures" / "streams"
        found += [path.read_bytes() for path in sorted(streams.glob("anthropic__*.sse"))]
    return found


def rendered(
    answer: Answer, protocol: str, streamed: bool, masks: Sequence[str], key: str
) -> tuple[int, Fields, bytes]:
    """(status, header fields, body) of ``answer``. ``streamed``: the upstream was asked for a
    stream; ``masks`` are those that upstreams have been sent so far, ``key`` what this one was."""
    streams = streamed and not answer.whole
    if answer.raw is not None:
        text = _masked(answer.raw.decode("utf-8", "surrogateescape"), masks)
        body = text.encode("utf-8", "surrogateescape")
        kind = answer.kind.encode() or (_STREAM if streams else b"application/json")
    elif streams:
        body, kind = _stream(answer, protocol, masks), answer.kind.encode() or _STREAM
    else:
        value = stories.whole(protocol, _story(answer.story, masks))
        body = written(edited(value, answer.edits), "ascii")
        kind = answer.kind.encode() or b"application/json"
    fields: Fields = ((b"content-type", kind),)
    body = body.replace(_KEY, key.encode())
    if answer.coding:
        body = packed(body, answer.coding)
        fields += ((b"content-encoding", answer.coding.encode()),)
    fields += tuple((k, v.replace(_KEY, key.encode())) for k, v in answer.fields)
    return answer.status, fields, body


def pieces(body: bytes, cuts: Sequence[int]) -> list[bytes]:
    """``body`` in pieces of these sizes, in turn."""
    made, at, n = [], 0, 0
    while at < len(body):
        size = max(1, cuts[n % len(cuts)])
        made.append(body[at : at + size])
        at, n = at + size, n + 1
    return made


def _masked(text: str, masks: Sequence[str]) -> str:
    def mask(match: re.Match[str]) -> str:
        return masks[int(match[1]) % len(masks)] if masks else "MASKED_CUSTOMER_0123456789ab"

    return _MASK.sub(mask, text)


def _story(story: Story, masks: Sequence[str]) -> Story:
    said = tuple((k, _masked(text, masks), _masked(more, masks)) for k, text, more in story.said)
    return replace(story, said=said)


def _stream(answer: Answer, protocol: str, masks: Sequence[str]) -> bytes:
    recorded = recordings(protocol)
    if answer.recorded is not None and recorded:
        whole = recorded[answer.recorded % len(recorded)].replace(b"\r\n", b"\n")
        parts = [part for part in whole.split(b"\n\n") if part.strip()]
    else:
        parts = [
            _event(protocol, event)
            for event in stories.events(protocol, _story(answer.story, masks))
        ]
    body = None
    for edit in answer.edits:
        if body is None and edit.how not in ("bytes", "cut", "insert", "lines"):
            if parts:
                _edit_events(parts, edit)
        else:
            body = _edit_bytes(_joined(parts) if body is None else body, edit)
    return _joined(parts) if body is None else body


def _event(protocol: str, event: stories.Event | str) -> bytes:
    if isinstance(event, str):
        return f"data: {event}".encode()
    name = f"event: {event['type']}\n" if protocol != "chat" else ""
    return f"{name}data: {json.dumps(event)}".encode()


def _joined(parts: list[bytes]) -> bytes:
    return b"".join(part + b"\n\n" for part in parts)


def _edit_events(parts: list[bytes], edit: Edit) -> None:
    """Something that is done to one event, or to where it comes."""
    at = edit.at % len(parts)
    if edit.how == "drop":
        del parts[at]
    elif edit.how == "twice":
        parts.insert(edit.what % (len(parts) + 1), parts[at])
    elif edit.how == "swap":
        parts.insert(edit.what % len(parts), parts.pop(at))
    elif edit.how == "comment":
        parts.insert(
            at, (b": wait", b"", b"id: 7\nretry: 1", b"event: odd\ndata: {}")[edit.what % 4]
        )
    else:
        parts[at] = _edited_event(parts[at], edit)


def _edited_event(part: bytes, edit: Edit) -> bytes:
    """An event whose JSON is another; what is no JSON edit takes its data away or breaks it."""
    lines = part.split(b"\n")
    before = b"".join(line + b"\n" for line in lines if not line.startswith(b"data:"))
    data = b"".join(line[5:].strip() for line in lines if line.startswith(b"data:"))
    if edit.how == "data":
        odd = (b"", data[: len(data) // 2], b"null", b"[]", b"words", data + data, data + b",")
        return before + b"data: " + odd[edit.what % len(odd)]
    try:
        value: Any = json.loads(data)
    except ValueError:
        return part
    inner = Edit(edit.how, edit.what, edit.at)
    return before + b"data: " + written(edited(value, (inner,)), "ascii")


def _edit_bytes(body: bytes, edit: Edit) -> bytes:
    at = edit.at * 37 % (len(body) + 1)
    if edit.how == "cut":
        return body[:at]
    if edit.how == "insert":
        odd = (b"\x00", b"\n\n", b"\xff", b"data: ", b"\r", b"}", b"\xef\xbb\xbf", b'"')
        return body[:at] + odd[edit.what % len(odd)] + body[at:]
    if edit.how == "lines":
        return body.replace(b"\n", (b"\r\n", b"\r", b"\n \n")[edit.what % 3])
    return body[:at] + bytes([edit.what]) + body[at + 1 :]
