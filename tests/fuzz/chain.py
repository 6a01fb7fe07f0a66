"""The whole chain under a test master, with a session going through it as mitmproxy would send it;
what came of it is kept as evidence. Nothing is asked of any network."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import runpy
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import connection, ctx, flow, http
from mitmproxy.addonmanager import Loader
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import taddons

from addons.access import Access
from addons.duplicates import Duplicates
from addons.quotas import Quotas
from addons.route import Router
from addons.runs import _runs, run_of
from addons.services import Services
from shim.policy.inforce import InForce
from shim.policy.schema import Provider
from shim.route.ask import Asked, AskError
from shim.turn import Usage
from shim.wire.paths import protocol_of
from tests.fuzz.case import CLIENTS, Answer, Case, Exchange
from tests.fuzz.evidence import Evidence, Got, Sent, Trace, masks_in
from tests.fuzz.policy import CLIENT_KEYS, ENVIRONMENT, TARGET, UPSTREAMS, policy_of
from tests.fuzz.recording import replace_link
from tests.fuzz.rendering import pieces, rendered
from tests.fuzz.requests import EARLIER, OWN_KEY

_MAIN = Path(__file__).resolve().parents[2] / "addons" / "main.py"
#: A flow file, a journal and its index in memory are quicker than on any disk.
_FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
_MOST_FOLLOWED = 4
PAGES = ("/health?exchanges", "/dashboard", "/metrics")
CLIENT_KEY = "own-key-of-client-{}-4f1d"


class _Heard(logging.Handler):
    """Keeps what is logged, tracebacks and all."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.kept: list[tuple[int, str]] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append((record.levelno, self.format(record)))


class Chain:
    """One chain, for one session."""

    def __init__(self, case: Case, folder: Path, master: Any) -> None:
        self.case = case
        self.evidence = Evidence(case)
        self._master = master
        made = runpy.run_path(str(_MAIN))
        self.services: Services = made["services"]
        self.runner = made["addons"][0]
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(_threads)
        self._folder = folder
        self._count = 0

    def one(self, kind: type[Any]) -> Any:
        """The stage of that kind."""
        return next(stage for stage in self.runner._stages if isinstance(stage, kind))

    def begin(self) -> None:
        """Set it up as the case wants it."""
        case, options = self.case, self._master.options
        self.runner.load(Loader(self._master))
        options.update(
            record_dir=str(self._folder),
            state="",
            upstream=case.target,
            body_limit=case.limit,
            client_keys=list(CLIENT_KEYS) if case.keys else [],
        )
        self.runner.configure(set(options.keys()))
        self.services.running = True
        self.services.policies._versions = [InForce(policy_of(case.variant))]
        self.one(Router).probe.check = self._reachable
        self.services.engines.provider = self._engine  # type: ignore[method-assign]

    async def _reachable(self, endpoint: tuple[str, str, int]) -> None:
        return None

    async def _engine(self, name: str) -> Provider:
        return Provider("http://demo.example:8005/v1", key=UPSTREAMS["demo.example"][1])

    async def ask(self, policy: Any, name: str, body: Any, **_: Any) -> Asked:
        """In the place of `shim.route.ask.ask`: what the classifier is asked leaves, too."""
        self.evidence.questions.append(body)
        if not self.case.scores:
            raise AskError(f"{name}: no answer")
        return Asked(self.case.scores, Usage(20, output=5))

    def fire(self, hook: str, subject: Any) -> None:
        """Have mitmproxy's chain run a hook: the runner, then the guard."""
        begun = time.process_time()
        self.loop.run_until_complete(self._fire(hook, subject))
        self.evidence.slowest = max(self.evidence.slowest, (time.process_time() - begun, hook))

    async def _fire(self, hook: str, subject: Any) -> None:
        guard = self._master.addons.lookup["interpose-guard"]
        for addon in (self.runner, guard):
            if (method := getattr(addon, hook, None)) is None:
                continue
            try:
                result = method(subject)
                if inspect.isawaitable(result):
                    await result
            except Exception as e:
                self.evidence.raised.append(f"{hook}: {e!r}")

    def session(self) -> None:
        """All exchanges of the case, in their order, and the pages that tell of them."""
        waiting: list[Trace] = []
        for exchange in self.case.exchanges:
            trace = self._ask(exchange, exchange.path)
            waiting.append(trace)
            if not exchange.overlaps:
                self._answer_all(waiting)
            elif trace.sent:
                self._look("/health?exchanges")
        self._answer_all(waiting)
        for path in PAGES:
            self._look(path)

    def _look(self, path: str) -> None:
        """At a page of the chain's own."""
        trace = self._ask(Exchange(path=path, method="GET"), path)
        self.evidence.pages.append(trace)
        self.evidence.traces.remove(trace)

    def _answer_all(self, waiting: list[Trace]) -> None:
        while waiting:
            trace, followed = waiting.pop(0), 0
            self._answer(trace)
            while trace.got and trace.got.status == 307 and followed < _MOST_FOLLOWED:
                followed += 1
                trace = self._ask(trace.exchange, trace.got.header("location"))
                self._answer(trace)

    def _flow(self, exchange: Exchange, path: str) -> http.HTTPFlow:
        number, named = CLIENTS[exchange.who]
        client = connection.Client(
            peername=("127.0.0.1", 51000 + number), sockname=("127.0.0.1", 8080)
        )
        client.proxy_mode = ProxyMode.parse(f"reverse:http://{TARGET}:8009")
        made = http.HTTPFlow(client, connection.Server(address=None), live=True)
        self._count += 1
        made.id = f"00000000-0000-4000-8000-{self._count:012d}"
        key = CLIENT_KEYS[number] if self.case.keys else CLIENT_KEY.format(number)
        fields = {"host": "127.0.0.1:8080", "authorization": f"Bearer {key}", **named}
        fields |= {name: value.replace(OWN_KEY, key) for name, value in exchange.fields}
        body = self._filled(exchange.body, key)
        if body:
            fields["content-length"] = str(len(body))
        made.request = http.Request.make(exchange.method, f"http://{TARGET}:8009/")
        made.request.data.path = path.encode()
        made.request.headers = http.Headers(
            [(name.encode(), value.encode()) for name, value in fields.items()]
        )
        made.request.data.content = body
        made.request.timestamp_end = time.time()
        return made

    def _filled(self, body: bytes, key: str) -> bytes:
        """``body`` with the ids of earlier answers, and the client's own key."""
        body = body.replace(OWN_KEY.encode(), key.encode())
        for n in range(len(self.evidence.traces)):
            mark = EARLIER.format(n).encode()
            if mark in body:
                body = body.replace(mark, self.evidence.traces[n].answer_id().encode())
        return body

    def _ask(self, exchange: Exchange, path: str) -> Trace:
        """Send a request into the chain, up to where it leaves or is answered."""
        made = self._flow(exchange, path)
        trace = Trace(exchange, made, made.request.raw_content or b"", path)
        self.evidence.traces.append(trace)
        self.fire("requestheaders", made)
        trace.admitted = made.response is None
        self.fire("request", made)
        run = run_of(made)
        if run:
            trace.intake, trace.decision, trace.sealed = run.intake, run.decision, run.sealed
        if made.response is not None:
            self.fire("responseheaders", made)
            self._end(trace, [], "")
        else:
            request = made.request
            trace.sent = Sent(
                request.data.host,
                request.data.port,
                request.data.path,
                request.method,
                request.headers.fields,
                request.raw_content or b"",
            )
            self.evidence.masks += masks_in(trace.sent.body)
        return trace

    def _answer(self, trace: Trace) -> None:
        """What the upstream does with what was sent to it."""
        sent, answer, made = trace.sent, trace.exchange.answer, trace.flow
        if sent is None or trace.got is not None:
            return
        if answer.end == "unreached" or sent.port == 0:
            made.error = flow.Error("Connection refused")
            self.fire("error", made)
            trace.got = Got(502, (), b"", False, False)
            return
        key = sent.key()
        protocol = protocol_of(sent.path.decode("latin-1")) or "responses"
        streamed = bool(trace.decision and trace.decision.turn.stream)
        status, fields, body = rendered(answer, protocol, streamed, self.evidence.masks, key)
        trace.raw = body
        trace.status = status
        made.response = http.Response.make(status)
        made.response.headers = http.Headers(fields)
        made.response.timestamp_start = time.time()
        self.fire("responseheaders", made)
        trace.streams = bool(run_of(made) and callable(made.response.stream))
        broken = answer.end in ("broken", "left")
        if broken:
            body = body[: int(len(body) * answer.share)]
        self._end(trace, self._passed(trace, answer, body), answer.end if broken else "")

    def _passed(self, trace: Trace, answer: Answer, body: bytes) -> Sequence[bytes] | None:
        """What the client gets of ``body`` piece by piece; None where it waits for its end."""
        response = trace.flow.response
        assert response
        # A head that is also the end of its answer starts no stream.
        if not response.stream or not body:
            response.data.content = body
            return None
        trace.head = (response.status_code, response.headers.fields)
        if not callable(response.stream):
            return [body]
        out: list[bytes] = []
        for piece in [*pieces(body, answer.cuts), *([] if answer.end in _BROKEN else [b""])]:
            begun = time.process_time()
            try:
                made = response.stream(piece)
            except Exception as e:
                self.evidence.raised.append(f"stream: {e!r}")
                break
            took = time.process_time() - begun
            self.evidence.slowest = max(self.evidence.slowest, (took, "stream"))
            out += [made] if isinstance(made, bytes) else list(made)
            if b"" in out:
                self.evidence.raised.append("stream: an empty chunk ends an answer")
        return out

    def _end(self, trace: Trace, passed: Sequence[bytes] | None, broke: str) -> None:
        made = trace.flow
        if broke:
            left = broke == "left"
            made.error = flow.Error("Client disconnected." if left else "peer closed connection")
            self.fire("error", made)
        else:
            self.fire("response", made)
        response = made.response
        assert response
        if passed:
            status, fields = trace.head or (response.status_code, response.headers.fields)
            trace.got = Got(status, fields, b"".join(passed), True, not broke)
        else:
            body = b"" if broke else response.raw_content or b""
            fields = response.headers.fields
            trace.got = Got(response.status_code, fields, body, False, not broke)
        made.live = False

    def end(self) -> None:
        """Have everything written, and see what is left over."""
        evidence, services = self.evidence, self.services
        if settle := services.recording.settle:
            self.loop.run_until_complete(settle())  # type: ignore[arg-type]
        evidence.rows = list(services.rows)
        flows = {trace.flow for trace in (*evidence.traces, *evidence.pages)}
        evidence.left = [f"run: {one.id}" for one in _runs if one in flows]
        evidence.left += [f"under way: {who}" for who in self.one(Duplicates)._under_way]
        evidence.counted = dict(getattr(services.store._store, "_counted", {}))
        evidence.stored = dict(getattr(services.store._store, "_kept", {}))
        evidence.recording = services.recording.error
        self.loop.run_until_complete(self._done())
        # The threads are everybody's.
        self.loop._default_executor = None
        self.loop.close()

    async def _done(self) -> None:
        await self.runner.done()


_BROKEN = ("broken", "left")
_threads = ThreadPoolExecutor(2)


@cache
def _master() -> Any:
    """One master for all chains: to make one, with all its options, takes longer than a session."""
    made = taddons.context(Proxyserver()).master
    # A master of tests never begins to end.
    made.should_exit.set()
    made._legacy_log_events.uninstall()
    made.commands.collect_commands = lambda addon: None
    return made


@contextmanager
def chain(case: Case) -> Iterator[Chain]:
    """A chain for ``case``, and its folder of recordings, which goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=_FAST))
    root, handler = logging.getLogger(), _Heard()
    before = root.level
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.lower().endswith("_proxy")]:
            patch.delenv(name)
        patch.delenv("INTERPOSE_POLICY", raising=False)
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        replace_link(patch)
        patch.setattr(ctx, "master", _master(), raising=False)
        patch.setattr(ctx, "options", _master().options, raising=False)
        made = Chain(case, folder, _master())
        made.evidence.folder, made.evidence.logged = folder, handler.kept
        patch.setattr("addons.route.ask", made.ask)
        try:
            made.begin()
            root.addHandler(handler)
            root.setLevel(logging.INFO)
            yield made
        finally:
            root.removeHandler(handler)
            root.setLevel(before)
            shutil.rmtree(folder, ignore_errors=True)


def run(case: Case) -> Iterator[Evidence]:
    """What comes of ``case``; its recordings are there until it is asked for more."""
    with chain(case) as made:
        made.session()
        made.end()
        yield made.evidence


__all__ = ["Access", "Chain", "Quotas", "chain", "run"]
