"""The engine server over the loopback: who may ask, what streams, what a broken client leaves."""

import asyncio
import json
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import httpx
import pytest

from shim.engines import app, demo
from shim.engines.server import EngineServer

pytestmark = pytest.mark.slow

ASK = {"model": "demo", "messages": [{"role": "user", "content": "say hello"}]}


@asynccontextmanager
async def running(pace: float = 0.0) -> AsyncIterator[tuple[EngineServer, httpx.AsyncClient]]:
    server = EngineServer(pace)
    await server.start()
    try:
        async with httpx.AsyncClient(
            base_url=server.base_url,
            trust_env=False,
            timeout=10,
            headers={"authorization": f"Bearer {server.secret}"},
        ) as client:
            yield server, client
    finally:
        await server.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


def test_answers_as_one_object_and_as_a_stream() -> None:
    async def test() -> None:
        async with running() as (_, client):
            whole = (await client.post("/chat/completions", json=ASK)).json()
            streamed = await client.post("/chat/completions", json=ASK | {"stream": True})
            assert streamed.headers["content-type"].startswith("text/event-stream")
            events = [
                json.loads(part.removeprefix("data: ")) for part in streamed.text.split("\n\n")[:-2]
            ]
            text = "".join(c["delta"].get("content", "") for e in events for c in e["choices"])
            assert text == whole["choices"][0]["message"]["content"]
            assert streamed.text.endswith("data: [DONE]\n\n")
            assert (await client.get("/models")).json()["data"][0]["id"] == "demo"

    run(test)


def test_chunks_arrive_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with running() as (_, client):
            released = asyncio.Event()

            async def held(seconds: float) -> None:
                await released.wait()

            monkeypatch.setattr(
                app, "asyncio", SimpleNamespace(sleep=held, to_thread=asyncio.to_thread)
            )
            async with client.stream(
                "POST", "/chat/completions", json=ASK | {"stream": True}
            ) as answer:
                parts = answer.aiter_bytes()
                assert (await anext(parts)).count(b"data: ") == 1
                released.set()
                assert b"[DONE]" in b"".join([p async for p in parts])

    run(test)


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"authorization": ""}, 401, "secret"),
        ({"authorization": "Bearer wrong"}, 401, "secret"),
        ({"authorization": "Bearer \xff"}, 401, "secret"),
        ({"host": "example.invalid"}, 403, "Host"),
        ({"host": "127.0.0.1"}, 403, "Host"),
    ],
)
def test_strangers_are_refused(headers: dict[str, str], status: int, said: str) -> None:
    async def test() -> None:
        async with running() as (_, client):
            raw = {k: v.encode("latin-1") for k, v in headers.items()}
            answer = await client.post("/chat/completions", json=ASK, headers=raw)
            assert answer.status_code == status and said in answer.json()["error"]["message"]

    run(test)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/chat/completions", b"{", 400),
        ("POST", "/chat/completions", b"[]", 400),
        ("POST", "/chat/completions", b'{"messages":[]}', 400),
        ("POST", "/elsewhere", b"{}", 404),
        ("GET", "/chat/completions", b"", 405),
    ],
)
def test_bad_requests_get_an_error_object(method: str, path: str, body: bytes, status: int) -> None:
    async def test() -> None:
        async with running() as (_, client):
            answer = await client.request(method, path, content=body)
            assert answer.status_code == status and answer.json()["error"]["message"]

    run(test)


def test_a_failure_in_the_engine_is_an_answer(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(request: object) -> demo.Completion:
        raise RuntimeError("broken on purpose")

    async def test() -> None:
        monkeypatch.setattr(demo, "respond", broken)
        async with running() as (_, client):
            answer = await client.post("/chat/completions", json=ASK)
            assert answer.status_code == 500 and "on purpose" in answer.json()["error"]["message"]

    run(test)
    assert capfd.readouterr() == ("", "")


class _Endless:
    """A completion that never ends, and notes when nobody listens any more."""

    def __init__(self) -> None:
        self.sent = 0
        self.closed = False

    def chunks(self) -> Iterator[bytes]:
        try:
            while True:
                self.sent += 1
                yield b"data: {}\n\n"
        finally:
            self.closed = True


@pytest.mark.parametrize("ending", ["client", "server"])
def test_an_open_stream_ends_with_its_client_and_with_the_server(
    ending: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    endless = _Endless()

    async def test() -> None:
        monkeypatch.setattr(demo, "respond", lambda request: endless)
        async with running(pace=0.005) as (server, client):
            async with client.stream(
                "POST", "/chat/completions", json=ASK | {"stream": True}
            ) as answer:
                assert await anext(answer.aiter_bytes())
                if ending == "server":
                    await server.stop()
                    await until(lambda: endless.closed)
            await until(lambda: endless.closed)

    run(test)
    assert endless.sent > 0
    assert capfd.readouterr() == ("", "")


def test_signals_and_log_stay_as_they_were(
    capfd: pytest.CaptureFixture[str],
) -> None:
    heard: list[str] = []
    root = logging.Handler()  # Not caplog: that listens to loggers that do not propagate as well.
    root.emit = lambda record: heard.append(record.name)  # type: ignore[method-assign]
    logging.getLogger().addHandler(root)
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]

    async def test() -> None:
        async with running() as (server, client):
            during = [signal.getsignal(signal.SIGTERM)]
            assert during == before[1:]
            logging.getLogger("uvicorn.error").error("a failure of the server itself")
            await server.start()  # A second start changes nothing.
            await client.post("/chat/completions", json=ASK)
        await server.stop()
        with pytest.raises(httpx.ConnectError):
            async with httpx.AsyncClient(trust_env=False) as late:
                await late.get(str(client.base_url) + "models")

    try:
        run(test)
    finally:
        logging.getLogger().removeHandler(root)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
    assert capfd.readouterr() == ("", "")
    assert not [name for name in heard if name.startswith("uvicorn")]


def test_every_server_has_a_secret_and_a_port_of_its_own() -> None:
    async def test() -> None:
        async with running() as (one, _), running() as (two, _):
            assert one.secret != two.secret and one.base_url != two.base_url
            assert one.base_url.startswith("http://127.0.0.1:")

    run(test)
