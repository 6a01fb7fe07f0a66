"""The whole chain under a test master, driven hook by hook as mitmproxy would."""

from __future__ import annotations

import asyncio
import inspect
import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mitmproxy import http
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import taddons, tflow

from addons.access import Access
from addons.route import Router
from addons.runner import Runner
from addons.runs import Run, run_of
from addons.services import Services
from addons.state import State
from shim.policy.load import parse_policy
from tests.unit.fixtures import DONE, chunk

MAIN = Path(__file__).resolve().parents[2] / "addons" / "main.py"
KEY = "sk-planted-0123456789"
ANSWER = chunk({"content": "hel"}) + chunk({"content": "lo"}, "stop") + DONE
POLICY = parse_policy("""
providers: {up: {base_url: "http://127.0.0.1:9/v1", key: "${PLANTED}"}}
models: {big: {provider: up, model: vendor/big}, blind: {provider: demo, images: false}}
default: big
""")


class Stages:
    """The whole chain, driven hook by hook as mitmproxy would."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        made = runpy.run_path(str(MAIN))
        self.services: Services = made["services"]
        self.runner: Runner = made["addons"][0]
        self.all: list[Any] = self.runner._stages
        self.state: State = made["state"]
        self.router: Router = self.one(Router)
        self.asked: list[tuple[str, str, int]] = []

    def one(self, kind: type[Any]) -> Any:
        """The stage of that kind."""
        return next(stage for stage in self.all if isinstance(stage, kind))

    def flow(
        self, body: object = None, path: str = "/v1/responses", **headers: str
    ) -> http.HTTPFlow:
        made = tflow.tflow()
        made.client_conn.proxy_mode = ProxyMode.parse("reverse:http://127.0.0.1:1")
        made.client_conn.peername = made.client_conn.sockname = ("127.0.0.1", 8080)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"host": "127.0.0.1:8080", "authorization": f"Bearer {KEY}", **headers}
        made.request = http.Request.make(
            "POST" if body is not None else "GET",
            f"http://127.0.0.1:1{path}",
        )
        for name, value in named.items():
            made.request.headers[name.replace("_", "-")] = value
        made.request.raw_content = content if body is not None else b""
        return made

    def fire(self, hook: str, *subject: Any) -> None:
        self.loop.run_until_complete(self._fire(hook, *subject))

    async def _fire(self, hook: str, *subject: Any) -> None:
        result = getattr(self.runner, hook)(*subject)
        if inspect.isawaitable(result):
            await result

    def rebuild(self) -> None:
        """Have the runner take over hooks that were changed."""
        self.runner._bind()

    def run(self, subject: http.HTTPFlow) -> Run:
        """What the runner knows of a request that has not ended."""
        run = run_of(subject)
        assert run
        return run

    def notes(self, subject: http.HTTPFlow) -> list[str]:
        """What was decided about a turn that has not ended."""
        decision = self.run(subject).decision
        assert decision
        return [str(note) for note in decision.notes]

    def access(self, **changes: Any) -> None:
        """Change who is let in."""
        stage = self.one(Access)
        stage.door = msgspec.structs.replace(stage.door, **changes)

    def done(self) -> None:
        self.loop.run_until_complete(self._fire("done"))
        self.loop.close()

    def send(self, subject: http.HTTPFlow) -> http.HTTPFlow:
        self.fire("requestheaders", subject)
        self.fire("request", subject)
        return subject

    def answer(
        self, subject: http.HTTPFlow, body: bytes, status: int = 200, **headers: str
    ) -> bytes:
        """Let the upstream answer; what the client gets."""
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        subject.response = http.Response.make(status)
        subject.response.headers = http.Headers(
            [(k.encode(), v.encode()) for k, v in named.items()]
        )
        self.fire("responseheaders", subject)
        sent = b""
        if callable(subject.response.stream):
            pieces = [body[i : i + 50] for i in range(0, len(body), 50)]
            for piece in [*pieces, b""]:
                out = subject.response.stream(piece)
                assert not isinstance(out, bytes) and b"" not in list(out), "an empty chunk ends it"
                sent += b"".join(out)
        else:
            subject.response.raw_content = body
        self.fire("response", subject)
        return sent or subject.response.content or b""


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stages]:
    monkeypatch.delenv("INTERPOSE_POLICY", raising=False)
    monkeypatch.setenv("PLANTED", f"{KEY}-policy")
    made = Stages()
    with taddons.context(Proxyserver(), made.runner) as context:
        # The master of these tests never begins to end.
        context.master.should_exit.set()
        context.options.update(record_dir=str(tmp_path))
        made.runner.configure(set(context.options.keys()))

        async def reachable(endpoint: tuple[str, str, int]) -> None:
            made.asked.append(endpoint)

        made.router.probe.check = reachable
        yield made
        made.done()


def with_policy(stages: Stages) -> Stages:
    stages.services.policies.put(POLICY)
    return stages


TURN = {"model": "m", "stream": True, "input": "hi"}
CODEX = {"user_agent": "codex_exec/0.169.0", "thread_id": "t1"}


def error(subject: http.HTTPFlow) -> tuple[int, str]:
    assert subject.response
    return subject.response.status_code, json.loads(subject.response.content or b"")["error"][
        "message"
    ]
