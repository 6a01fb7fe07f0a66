"""The real Codex against every upstream failure: how often it asks, and what its user reads.

The runs share one chain and go four at a time; only those that the chosen tests need are made.
With INTERPOSE_WRITE_DOCS=1 the results are written into docs/errors.md, beside those of a Codex
that asks the same upstreams directly.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.answers import responses_text
from tests.e2e.chain import Chain
from tests.e2e.clients import CODEX, OLD_CODEX, CodexRun, codex_binary, run_codex
from tests.e2e.errors_page import Row, Shown, write_page
from tests.e2e.failures import HOPELESS, RECOVERED, RETRIABLE, Failure
from tests.e2e.tap import Tap
from tests.e2e.upstreams import Upstream, bad_certificate, closed_port

AT_ONCE = 4


@dataclass
class Result:
    """One run of Codex. `asked` counts its requests, `reached` those at the provider."""

    run: CodexRun
    asked: int
    reached: int
    log: str

    def explain(self) -> str:
        return f"{self.asked} asked, {self.reached} reached\n{self.run.explain()}\n{self.log}"


class Job(NamedTuple):
    """One run: a failure that lasts or that happens `once`, and the client's version."""

    failure: Failure
    once: bool = False
    version: str = CODEX

    @property
    def name(self) -> str:
        """Of the run's provider and model."""
        old = "-old" if self.version == OLD_CODEX else ""
        return self.failure.name + ("-once" if self.once else "") + old


def upstream_url(job: Job, stack: ExitStack, folder: Path) -> tuple[str, Upstream | None]:
    """Where the failing provider is, and its server when there is one."""
    failure = job.failure
    if failure.where == "refused":
        return f"http://127.0.0.1:{closed_port()}", None
    if failure.where == "unknown-host":
        return "http://no-such-host.invalid", None
    good = RECOVERED if failure.protocol == "chat" else responses_text("Recovered.")
    answers = [failure.answer or good, *([good] if job.once else [])]
    tls = bad_certificate(folder) if failure.where == "bad-certificate" else None
    server = stack.enter_context(Upstream(answers, tls=tls))
    url = server.url
    if failure.where == "not-tls":
        url = url.replace("http:", "https:")
    return url, server


class Matrix:
    """Runs failures through one chain, each at most once and in the background."""

    def __init__(self, wanted: list[Job], folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._servers: dict[str, Upstream | None] = {}
        providers, models = ["providers:"], ["models:"]
        for job in wanted:
            url, self._servers[job.name] = upstream_url(job, stack, folder)
            protocol = job.failure.protocol
            providers.append(
                f'  {job.name}: {{ base_url: "{url}/v1", protocol: {protocol}, key: k }}'
            )
            models.append(f"  {job.name}: {{ provider: {job.name} }}")
            codex_binary(job.version)
        policy = "\n".join([*providers, *models, ""])
        self._chain = stack.enter_context(Chain(policy=policy))
        self._pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        self._runs = {job.name: self._pool.submit(self._run, job) for job in wanted}

    def __getitem__(self, job: Job) -> Result:
        return self._runs[job.name].result()

    def direct(self, failure: Failure) -> Future[Shown]:
        """The same failure without the chain, for comparison."""
        return self._pool.submit(self._direct, failure)

    def _direct(self, failure: Failure) -> Shown:
        with ExitStack() as stack:
            folder = self._folder / f"direct-{failure.name}"
            folder.mkdir()
            url, server = upstream_url(Job(failure), stack, folder)
            run = run_codex(f"{url}/v1", "Say hello.", folder, timeout=90)
            asked = len(server.posts()) if server else 0
            return Shown(asked, run.seconds, run.failure or run.visible)

    def _run(self, job: Job) -> Result:
        name = job.name
        with Tap(self._chain.port) as tap:
            prompt, workdir = f"Say hello to {name}.", self._folder / name
            run = run_codex(tap.url, prompt, workdir, model=name, version=job.version, timeout=90)
            server = self._servers[name]
            log = "\n".join(line for line in self._chain.log().splitlines() if name in line)
            return Result(run, tap.requests, len(server.posts()) if server else 0, log)


@pytest.fixture(scope="module")
def matrix(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Matrix]:
    """Of the jobs of those tests that have been chosen."""
    wanted: list[Job] = []
    for item in request.session.items:
        if item.path == request.path and isinstance(item, pytest.Function):
            wanted.append(getattr(item, "callspec").params["job"])  # noqa: B009
    with ExitStack() as stack:
        yield Matrix(wanted, tmp_path_factory.mktemp("matrix"), stack)


@dataclass
class Page:
    """The rows of docs/errors.md, with what has been seen of each so far."""

    matrix: Matrix
    seen: dict[str, tuple[Failure, Result]] = field(default_factory=dict)

    def note(self, job: Job, result: Result) -> None:
        if job.version == CODEX:
            self.seen[job.failure.title] = job.failure, result

    def write(self) -> None:
        titles = [failure.title for failure in [*HOPELESS, *RETRIABLE]]
        assert sorted(self.seen) == sorted(titles), "run all of this file"
        direct = {title: self.matrix.direct(failure) for title, (failure, _) in self.seen.items()}
        rows = []
        for title in titles:
            failure, result = self.seen[title]
            text = re.sub(rf"\b{failure.name}(?=: | sent )", "acme", result.run.failure)
            chain = Shown(result.asked, result.run.seconds, text)
            rows.append(Row(title, chain, result.reached, direct[title].result()))
        write_page(rows)


@pytest.fixture(scope="module")
def page(matrix: Matrix) -> Iterator[Page]:
    """Written at the end, when asked for."""
    found = Page(matrix)
    yield found
    if os.environ.get("INTERPOSE_WRITE_DOCS") == "1":
        found.write()


def jobs(failures: Sequence[Failure], once: bool = False) -> pytest.MarkDecorator:
    """The parameters of a test: the pinned client for all, the older one in the full run."""
    now = [pytest.param(job, id=job.name) for job in (Job(f, once) for f in failures)]
    older = [Job(f, once, OLD_CODEX) for f in failures]
    old = [pytest.param(job, id=job.name, marks=pytest.mark.full) for job in older]
    return pytest.mark.parametrize("job", now + old)


@jobs(HOPELESS)
def test_hopeless_failure_is_shown_once(job: Job, matrix: Matrix, page: Page) -> None:
    failure, result = job.failure, matrix[job]
    page.note(job, result)
    assert result.run.exit_code == 1, result.explain()
    assert 1 <= result.asked <= failure.most, result.explain()
    assert failure.words in result.run.failure, result.explain()
    assert "<html" not in result.run.visible
    # Readable: a sentence, neither JSON nor Codex's own words for a status it does not know.
    assert "unexpected status" not in result.run.failure, result.explain()
    assert not result.run.failure.lstrip().startswith("{"), result.explain()


@jobs(RETRIABLE, once=True)
def test_retry_recovers(job: Job, matrix: Matrix) -> None:
    """The upstream fails once: the second request gets through, after the delay asked for."""
    result = matrix[job]
    assert result.run.exit_code == 0, result.explain()
    assert result.run.final_text == "Recovered.", result.explain()
    assert (result.asked, result.reached) == (2, 2), result.explain()
    assert result.run.seconds >= job.failure.wait, result.explain()
    assert not result.run.failure


@pytest.mark.full
@jobs(RETRIABLE)
def test_lasting_failure_ends(job: Job, matrix: Matrix, page: Page) -> None:
    """Retries are few, and in the end the user has the provider's words."""
    failure, result = job.failure, matrix[job]
    page.note(job, result)
    assert result.run.exit_code == 1, result.explain()
    assert 2 <= result.asked <= failure.most, result.explain()
    assert failure.words in result.run.failure, result.explain()
