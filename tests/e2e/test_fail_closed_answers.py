"""Odd answers of providers through a real chain: the client gets an answer or a failure of its own
protocol within seconds, the journal has the turn with its end, budgets are settled, and a stream
that runs beside all of them is unharmed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import pytest

from shim.state.store import SQLite
from tests.e2e.chain import Chain
from tests.e2e.fail_closed import PROVIDER_KEY, journal
from tests.e2e.judging import judge
from tests.e2e.known_faults import ANSWERS, mark
from tests.e2e.odd_answer_bodies import bodies, streams
from tests.e2e.odd_answers import SSE, Reply, breaks, good, head, heads
from tests.e2e.odd_bodies import PATHS, plain
from tests.e2e.odd_upstream import OddUpstream, Script
from tests.e2e.raw_http import Got, ask, chunked, request

CLIENTS = ("responses", "chat", "messages", "codex")
POLICY = """
providers:
  responses: {{ base_url: "{url}/v1", protocol: responses, key: {key} }}
  chat: {{ base_url: "{url}/v1", key: {key} }}
  messages: {{ base_url: "{url}/v1", protocol: messages, key: {key} }}
models: {{ beside: {{ provider: chat }} }}
limits: [{{ name: all, tokens: 1000000000 }}]
"""
#: More failures in a row than there are cases: no provider is left alone.
_HEALTH = ", health: {{ failures: 100000 }} }}"
Case = tuple[Reply, str]


def cases(*, full: bool) -> Iterator[Case]:
    """Those of the ordinary run, each for one client, or all others."""
    for at, protocol in enumerate(PATHS):
        number = at
        for group, every in ((heads, 2), (breaks, 2), (bodies, 9), (streams, 3)):
            for reply in group(protocol):
                number += 1
                for client in CLIENTS:
                    chosen = client == CLIENTS[number % 4] and number % every == 0
                    if "bomb" in reply.name and (client == "codex" or client == protocol):
                        # Where nobody looks into a stream it passes as it is.
                        continue
                    if chosen is not full:
                        yield reply, client


def params(*, full: bool) -> list[Any]:
    more = [pytest.mark.full] if full else []
    return [
        pytest.param(
            (reply, client),
            id=f"{client}-{reply.model}",
            marks=[*mark(ANSWERS, client, reply.name, _upstream(reply)), *more],
        )
        for reply, client in cases(full=full)
    ]


def _upstream(reply: Reply) -> str:
    return f"{reply.protocol} {'stream' if reply.stream else 'whole'}"


@dataclass
class Ended:
    """What came of a case: what the client got, and the journal's rows."""

    got: Got
    rows: Sequence[dict[str, Any]] = ()


class Run:
    """A chain with a provider that gives all of ``cases``, and one good stream beside them."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._cases = cases
        self._over = threading.Event()
        scripts = {reply.model: reply.script for reply, _ in cases}
        self._upstream = OddUpstream({**scripts, "beside": Script(self._beside)})
        text = POLICY.replace(" }}\n", _HEALTH + "\n", 3)
        policy = text.format(url=self._upstream.url, key=PROVIDER_KEY)
        self.chain = Chain(policy=policy)
        self.ended: dict[str, Ended] = {}
        self.beside: Got

    def _beside(self) -> Iterator[bytes]:
        """An answer that goes on until all others are over."""
        events = [e + b"\n\n" for e in good("chat", True).split(b"\n\n") if e.strip()]
        yield head(200, SSE, chunks=True) + chunked(events[0], end=b"")
        while not self._over.wait(0.05):
            yield chunked(events[1], end=b"")
        yield chunked(b"".join(events[2:]))

    def __enter__(self) -> Self:
        self._upstream.__enter__()
        self.chain.__enter__()
        with ThreadPoolExecutor(5) as pool:
            beside: Future[Got] = pool.submit(self._ask, "beside", "chat", "beside", True, 300)
            asked = [pool.submit(self._case, case) for case in self._cases]
            got = [future.result() for future in asked]
            self._over.set()
            self.beside = beside.result()
        rows: dict[str, list[dict[str, Any]]] = {}
        for row in journal(self.chain):
            rows.setdefault(row["thread"], []).append(row)
        for case, one in zip(self._cases, got, strict=True):
            self.ended[_name(case)] = Ended(one, rows.get(_name(case), ()))
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self.chain.__exit__(*exc)
        self._upstream.__exit__(*exc)

    def _case(self, case: Case) -> Got:
        reply, client = case
        model = f"{reply.protocol}:{reply.model}"
        return self._ask(_name(case), client, model, reply.stream, 10)

    def _ask(self, thread: str, client: str, model: str, stream: bool, patience: float) -> Got:
        protocol = "responses" if client == "codex" else client
        body = json.dumps(plain(protocol, model, stream=stream)).encode()
        fields = [("thread-id", thread)]
        if client == "codex":
            fields.append(("user-agent", "codex_exec/0.169.0"))
        return ask(self.chain.port, request(PATHS[protocol], body, fields), patience=patience)

    def check(self, case: Case) -> None:
        reply, client = case
        ended = self.ended[_name(case)]
        got = ended.got
        assert got.seconds < 8, got
        assert "interpose: the stage" not in got.text, got.text
        protocol = "responses" if client == "codex" else client
        verdict = judge(got, protocol, stream=reply.stream)
        assert len(ended.rows) == 1, ended.rows
        (row,) = ended.rows
        told = (verdict, row["state"], row["status"], row["error"], got.status, got.body[-600:])
        assert verdict != "garbage" and (got.status or not reply.stream), told
        assert row["state"] == ("ok" if verdict == "answer" else "failed"), told
        if reply.ends != "either":
            assert (verdict == "answer") == (reply.ends == "answer"), told
        if verdict == "broken":
            # Only where the provider's own answer broke.
            assert reply.stream and row["error"], told
        assert "location" not in got.headers and b"\0" not in str(got.fields).encode()


def _name(case: Case) -> str:
    reply, client = case
    return f"{client}-{reply.model}"


@pytest.fixture(scope="module")
def ordinary() -> Iterator[Run]:
    with Run(list(cases(full=False))) as run:
        yield run


@pytest.fixture(scope="module")
def full() -> Iterator[Run]:
    with Run(list(cases(full=True))) as run:
        yield run


@pytest.mark.parametrize("case", params(full=False))
def test_an_odd_answer(ordinary: Run, case: Case) -> None:
    ordinary.check(case)


@pytest.mark.parametrize("case", params(full=True))
def test_an_odd_answer_for_all_clients(full: Run, case: Case) -> None:
    full.check(case)


def test_the_stream_beside_them_is_whole(ordinary: Run) -> None:
    got = ordinary.beside
    assert got.status == 200 and got.whole and judge(got, "chat", stream=True) == "answer"
    (row,) = [row for row in journal(ordinary.chain) if row["thread"] == "beside"]
    assert row["state"] == "ok"


def test_the_budget_is_settled(ordinary: Run) -> None:
    page = ordinary.chain.get("/health?exchanges=1").json()
    used = [row["usage"] for row in page["exchanges"] if row["usage"]]
    assert len(page["exchanges"]) == len(ordinary.ended) + 1 and len(used) > 50
    total = sum(usage["input_tokens"] + usage["output_tokens"] for usage in used)
    store = SQLite(ordinary.chain.stored)
    assert store.total("limit|all|tokens", time.time()) == total
    assert "crashed" not in ordinary.chain.log() and "Traceback" not in ordinary.chain.log()
