"""The canned upstream: the same stream of 200 deltas for every request, as cheap as can be.

It answers Chat Completions and Messages, so a system that answers otherwise has translated; only
below /passing it answers Responses. Below /paced an answer takes about a second, below /tokens two,
each delta coming by itself; below /cut it breaks off, below /failing there is none.
Run as a process of its own: `python -m benchmarks.upstream PORT`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from typing import Any

DELTAS = 200


def _chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + json.dumps({**head, "choices": [choice], **more}).encode() + b"\n\n"


USAGE = {"prompt_tokens": 10, "completion_tokens": DELTAS, "total_tokens": DELTAS + 10}
EVENTS = [
    _chunk({"role": "assistant", "content": ""}),
    *(_chunk({"content": f"word{n} "}) for n in range(DELTAS)),
    _chunk({}, "stop", usage=USAGE),
    b"data: [DONE]\n\n",
]


def _event(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind, **fields}).encode()
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


_MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
_BEGUN = {"stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 10}}
MESSAGES = [
    _event("message_start", message={**_MESSAGE, **_BEGUN}),
    _event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    *(
        _event("content_block_delta", index=0, delta={"type": "text_delta", "text": f"word{n} "})
        for n in range(DELTAS)
    ),
    _event("content_block_stop", index=0),
    _event(
        "message_delta",
        delta={"stop_reason": "end_turn", "stop_sequence": None},
        usage={"output_tokens": DELTAS},
    ),
    _event("message_stop"),
]


def _responses() -> list[bytes]:
    text = "".join(f"word{n} " for n in range(DELTAS))
    part = {"type": "output_text", "text": "", "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress"}
    whole = {**item, "status": "completed", "content": [{**part, "text": text}]}
    response = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m"}
    begun = {**response, "status": "in_progress", "output": []}
    counts = {"input_tokens": 10, "output_tokens": DELTAS, "total_tokens": DELTAS + 10}
    ended = {**response, "status": "completed", "output": [whole], "usage": counts}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events: list[tuple[str, dict[str, Any]]] = [
        ("created", {"response": begun}),
        ("output_item.added", {"output_index": 0, "item": {**item, "content": []}}),
        ("content_part.added", {**place, "part": part}),
        *(("output_text.delta", {**place, "delta": f"word{n} "}) for n in range(DELTAS)),
        ("output_text.done", {**place, "text": text}),
        ("content_part.done", {**place, "part": {**part, "text": text}}),
        ("output_item.done", {"output_index": 0, "item": whole}),
        ("completed", {"response": ended}),
    ]
    return [
        _event(f"response.{kind}", sequence_number=number, **fields)
        for number, (kind, fields) in enumerate(events)
    ]


RESPONSES = _responses()
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_PIECES = {
    path: [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    for path, events in (
        (b"/chat/completions", EVENTS),
        (b"/messages", MESSAGES),
        (b"/passing/v1/responses", RESPONSES),
    )
}
_FAILURES = itertools.cycle((b"500 No", b"429 Too Many Requests", b"400 Bad Request"))
#: Seconds of rest after so many pieces.
_RESTS = {b"paced": (0.05, 10), b"tokens": (0.01, 1)}


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if b"transfer-encoding: chunked" in head:
                while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                    await reader.readexactly(size + 2)
                await reader.readuntil(b"\r\n")
            elif b"content-length:" in head:
                length = head.split(b"content-length:")[1].split(b"\r\n")[0]
                await reader.readexactly(int(length))
            if head.startswith(b"get"):
                page = b'{"object":"list","data":[{"id":"m","object":"model"}]}'
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
                writer.write(b"content-length: %d\r\n\r\n%b" % (len(page), page))
                continue
            asked = head.partition(b"\r\n")[0]
            pieces = next((found for path, found in _PIECES.items() if path in asked), None)
            if pieces is None:
                writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                continue
            how = asked.partition(b"/v1/")[0].rpartition(b"/")[2]
            if how == b"failing":
                said = b'{"error":{"message":"not today"}}'
                writer.write(b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n" % next(_FAILURES))
                writer.write(b"content-length: %d\r\n\r\n%b" % (len(said), said))
                continue
            writer.write(_HEAD)
            for number, piece in enumerate(pieces):
                writer.write(piece)
                if how == b"cut" and number == DELTAS // 2:
                    return
                # A turn of the loop per delta, as a model has pauses between its tokens.
                rest, at_once = _RESTS.get(how, (0, 1))
                await asyncio.sleep(rest if number % at_once == 0 else 0)
            writer.write(b"0\r\n\r\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(port: int) -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", port, limit=1 << 25)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
