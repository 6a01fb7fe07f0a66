"""What arrives of an answer in one read leaves in one write."""

from __future__ import annotations

import re
import socket
import threading

from tests.e2e.chain import Chain
from tests.unit.fixtures import DONE, chunk

DELTAS = 200


def _upstream(server: socket.socket, begun: threading.Event) -> None:
    """Answers one chat request: a first chunk, and once it is through all others in one write."""
    # The chain's probe only connects; the request comes on a connection of its own.
    while True:
        client, _ = server.accept()
        with client, client.makefile("rb") as asked:
            head = b""
            while (line := asked.readline()) not in (b"\r\n", b""):
                head += line
            if not head:
                continue
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            assert length
            asked.read(int(length[1]))
            events = [chunk({"content": f"word{n} "}) for n in range(DELTAS)]
            events += [chunk({}, "stop"), DONE]
            first, *others = [b"%x\r\n%b\r\n" % (len(e), e) for e in events]
            client.sendall(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                b"transfer-encoding: chunked\r\n\r\n" + first
            )
            assert begun.wait(20)
            client.sendall(b"".join(others) + b"0\r\n\r\n")
            return


def test_chunks_that_came_together_leave_together() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        begun = threading.Event()
        threading.Thread(target=_upstream, args=(server, begun), daemon=True).start()
        origin = f"http://127.0.0.1:{server.getsockname()[1]}"
        with (
            Chain(origin, options={"upstream": "chat"}) as chain,
            socket.create_connection(("127.0.0.1", chain.port), 20) as client,
        ):
            body = b'{"model": "m", "stream": true, "input": "hi"}'
            client.sendall(
                b"POST /v1/responses HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            answer = b""
            while not answer.endswith(b"\r\n0\r\n\r\n"):
                piece = client.recv(65536)
                assert piece, answer[-500:]
                answer += piece
                if b"word0" in answer:
                    begun.set()
    deltas = answer.count(b"event: response.output_text.delta")
    chunks = len(re.findall(rb"\r\n[0-9a-f]+\r\n(?=event: )", answer))
    assert deltas == DELTAS and b"response.completed" in answer
    assert chunks < DELTAS / 10, f"{deltas} deltas in {chunks} chunks"
