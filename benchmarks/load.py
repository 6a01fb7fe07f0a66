"""The client: plain sockets, and the time to the first delta and to the end of each answer."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass

#: What the first delta of the canned stream says, in any protocol.
FIRST = b"word0"
LAST = b"word199"
#: What only an answer in the Responses protocol holds, in Messages, and in Chat Completions.
RESPONSES = (b'"response.output_text.delta"', b'"response.completed"')
MESSAGES = (b'"content_block_delta"', b'"message_stop"')
CHAT = (b'"chat.completion.chunk"', b"data: [DONE]")


@dataclass(frozen=True)
class Sample:
    """One request: milliseconds to the first delta, and to the end of the answer."""

    first: float
    total: float


class BadAnswer(Exception):
    """The system under test did not answer as it should; the text shows what it said."""


async def one(
    port: int,
    body: bytes,
    key: str,
    path: str = "/v1/responses",
    marks: tuple[bytes, ...] = (),
    thread: str = "",
) -> Sample:
    """Send one request on a connection of its own, as a new Codex turn does.

    BadAnswer unless the whole stream came, status 200, with every one of ``marks`` in it.
    """
    thread = thread or str(uuid.uuid4())
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 25)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nuser-agent: codex_exec/0.169.0\r\n"
        f"authorization: Bearer {key}\r\naccept: text/event-stream\r\n"
        f"originator: codex_exec\r\nsession-id: {thread}\r\nthread-id: {thread}\r\n"
        f"x-client-request-id: {thread}\r\nx-codex-window-id: {thread}:0\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    started = time.perf_counter()
    writer.write(head.encode() + body)
    first = 0.0
    parts: list[bytes] = []
    tail = b""
    try:
        while not tail.endswith(b"0\r\n\r\n"):
            data = await reader.read(1 << 16)
            if not data:
                break
            parts.append(data)
            tail = (tail + data)[-64:] if first else tail + data
            if not first and FIRST in tail:
                first = time.perf_counter()
    finally:
        writer.close()
    ended = time.perf_counter()
    answer = b"".join(parts)
    whole = first and answer.startswith(b"HTTP/1.1 200")
    if not whole or not all(mark in answer for mark in (LAST, *marks)):
        raise BadAnswer(answer[:600].decode("utf-8", "replace"))
    return Sample((first - started) * 1e3, (ended - started) * 1e3)


async def burst(
    port: int, bodies: list[bytes], key: str, path: str, marks: tuple[bytes, ...]
) -> list[Sample]:
    """Send all ``bodies`` at the same time."""
    return list(await asyncio.gather(*(one(port, body, key, path, marks) for body in bodies)))
