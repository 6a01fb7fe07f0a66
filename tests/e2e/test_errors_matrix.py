"""The real Codex against every upstream failure: how often it asks, and what its user reads.

The runs share one chain and go four at a time; only those that the chosen tests need are made.
With INTERPOSE_WRITE_DOCS=1 the results are written into docs/errors.md, beside those of a Codex
that asks the same upstreams directly.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.answers import responses_text
from tests.e2e.chain import Chain
from tests.e2e.clients import CodexRun, codex_binary, run_codex
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


def upstream_url(failure: Failure, recovers: bool, stack: ExitStack, folder: Path) -> tuple[
    str, Upstream | None
]:
    """Where the failing provider is, and its server when there is one."""
    if failure.where == "refused":
        return f"http://127.0.0.1:{closed_port()}", None
    if failure.where == "unknown-host":
        return "http://no-such-host.invalid", None
    good = RECOVERED if failure.protocol == "chat" else responses_text("Recovered.")
    answers = [failure.answer or good, *([good] if recovers else [])]
    tls = bad_certificate(folder) if failure.where == "bad-certificate" else None
    server = stack.enter_context(Upstream(answers, tls=tls))
    url = server.url
    if failure.where == "not-tls":
        url = url.replace("http:", "https:")
    return url, server


class Matrix:
    """Runs failures through one chain, each at most once and in the background."""

    def __init__(self, wanted: list[tuple[Failure, bool]], folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._servers: dict[str, Upstream | None] = {}
        providers, models = ["providers:"], ["models:"]
        for failure, recovers in wanted:
            name = run_name(failure, recovers)
            url, self._servers[name] = upstream_url(failure, recovers, stack, folder)
            providers.append(
                f'  {name}: {{ base_url: "{url}/v1", protocol: {failure.protocol}, key: k }}'
            )
            models.append(f"  {name}: {{ provider: {name} }}")
        policy = "\n".join([*providers, *models, ""])
        self._chain = stack.enter_context(Chain(policy=policy))
        pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        codex_binary()
        self._pool = pool
        self._runs: dict[str, Future[Result]] = {
            run_name(failure, recovers): pool.submit(self._run, run_name(failure, recovers))
            for failure, recovers in wanted
        }

    def __getitem__(self, key: tuple[Failure, bool]) -> Result:
        return self._runs[run_name(*key)].result()

    def direct(self, failure: Failure) -> Future[Shown]:
        """The same failure without the chain, for comparison."""
        return self._pool.submit(self._direct, failure)

    def _direct(self, failure: Failure) -> Shown:
        with ExitStack() as stack:
            folder = self._folder / f"direct-{failure.name}"
            folder.mkdir()
            url, server = upstream_url(failure, False, stack, folder)
            run = run_codex(f"{url}/v1", "Say hello.", folder, timeout=90)
            asked = len(server.posts()) if server else 0
            return Shown(asked, run.seconds, run.failure or run.visible)

    def _run(self, name: str) -> Result:
        with Tap(self._chain.port) as tap:
            workdir = self._folder / name
            run = run_codex(tap.url, f"Say hello to {name}.", workdir, model=name, timeout=90)
            server = self._servers[name]
            log = "\n".join(line for line in self._chain.log().splitlines() if name in line)
            return Result(run, tap.requests, len(server.posts()) if server else 0, log)


def run_name(failure: Failure, recovers: bool) -> str:
    return f"{failure.name}-once" if recovers else failure.name


@pytest.fixture(scope="module")
def matrix(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Matrix]:
    wanted: list[tuple[Failure, bool]] = []
    for item in request.session.items:
        if item.path == request.path and isinstance(item, pytest.Function):
            failure = getattr(item, "callspec").params["failure"]  # noqa: B009
            wanted.append((failure, "recovers" in item.name))
    with ExitStack() as stack:
        yield Matrix(wanted, tmp_path_factory.mktemp("matrix"), stack)


@dataclass
class Page:
    """The rows of docs/errors.md, with what has been seen of each so far."""

    matrix: Matrix
    seen: dict[str, tuple[Failure, Result]] = field(default_factory=dict)

    def note(self, failure: Failure, result: Result) -> None:
        self.seen[failure.title] = failure, result

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


def by_name(failure: Failure) -> str:
    return failure.name


@pytest.mark.parametrize("failure", HOPELESS, ids=by_name)
def test_hopeless_failure_is_shown_once(failure: Failure, matrix: Matrix, page: Page) -> None:
    result = matrix[failure, False]
    page.note(failure, result)
    assert result.run.exit_code == 1, result.explain()
    assert 1 <= result.asked <= failure.most, result.explain()
    assert failure.words in result.run.failure, result.explain()
    assert "<html" not in result.run.visible
    # Readable: a sentence, neither JSON nor Codex's own words for a status it does not know.
    assert "unexpected status" not in result.run.failure, result.explain()
    assert not result.run.failure.lstrip().startswith("{"), result.explain()


@pytest.mark.parametrize("failure", RETRIABLE, ids=by_name)
def test_retry_recovers(failure: Failure, matrix: Matrix) -> None:
    """The upstream fails once: the second request gets through, after the delay asked for."""
    result = matrix[failure, True]
    assert result.run.exit_code == 0, result.explain()
    assert result.run.final_text == "Recovered.", result.explain()
    assert (result.asked, result.reached) == (2, 2), result.explain()
    assert result.run.seconds >= failure.wait, result.explain()
    assert not result.run.failure


@pytest.mark.full
@pytest.mark.parametrize("failure", RETRIABLE, ids=by_name)
def test_persistent_failure_ends(failure: Failure, matrix: Matrix, page: Page) -> None:
    """Retries are few, and in the end the user has the provider's words."""
    result = matrix[failure, False]
    page.note(failure, result)
    assert result.run.exit_code == 1, result.explain()
    assert 2 <= result.asked <= failure.most, result.explain()
    assert failure.words in result.run.failure, result.explain()
