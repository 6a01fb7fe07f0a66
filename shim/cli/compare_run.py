"""The runs of a comparison: each in a fresh copy, with a home of its own, through one chain."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ..codex.home import write_home
from ..policy.schema import Policy
from ..system import shell
from .chain import Chain
from .compare_view import FAILED, NOT_RUN, PASSED, Ledger, Run, measure
from .copies import copy, environment
from .run import client_environment, temporary_home
from .tour_view import View
from .watch import group, watch

#: Characters of a reason that are shown.
_REASON = 300


@dataclass(frozen=True)
class Task:
    """What is the same for every run. ``repo`` is what is copied, ``name`` what its folder is
    called, ``inside`` the folder in it where the task is."""

    prompt: str
    check: str
    timeout: float
    policy: Policy
    client: Path
    sandbox: str
    repo: Path
    name: str
    inside: str


class Runner:
    """Does the runs, one after the other, in folders under ``folder``; tells ``said`` about it."""

    def __init__(self, task: Task, chain: Chain, folder: Path, keep: bool, said: Console) -> None:
        self._task = task
        self._chain = chain
        self._folder = folder
        self._keep = keep
        self._said = said
        self._ledger = Ledger()

    def all(self, routes: list[str], times: int) -> dict[str, list[Run]]:
        """Every route ``times`` times, taking turns: what changes with the hour hits all."""
        runs: dict[str, list[Run]] = {route: [] for route in routes}
        total = len(routes) * times
        for n in range(total):
            route = routes[n % len(routes)]
            title = f"run {n + 1} of {total}, {route}"
            # Not the route's name: the model sees it, and it would not be the same prompt.
            place = self._folder / f"run-{n + 1}"
            run = self._shown(title, route, place)
            runs[route].append(replace(run, number=n // len(routes) + 1))
            self._said.print(f"{title}: {run.why or f'passed in {run.seconds:.1f} s'}")
            if not self._keep:
                shutil.rmtree(place, ignore_errors=True)
        return runs

    def _shown(self, title: str, route: str, place: Path) -> Run:
        """One run, with a line about it while it lasts."""
        if not self._said.is_terminal:
            self._said.print(f"{title} …")
            return self._run(route, place, lambda what: None)
        text = TextColumn("{task.description}", markup=False)
        columns = (SpinnerColumn(), text, TimeElapsedColumn())
        with Progress(*columns, console=self._said, transient=True) as progress:
            line = progress.add_task(title)
            return self._run(
                route, place, lambda what: progress.update(line, description=f"{title}: {what}")
            )

    def _run(self, route: str, place: Path, tell: Callable[[str], None]) -> Run:
        task, view = self._task, _Steps(tell)
        # The folder's name is the repository's own, for tools that go by it.
        repo = copy(task.repo, place / task.name)
        work = repo / task.inside
        with temporary_home() as home:
            write_home(home, self._chain.url, task.policy, route)
            words = ["exec", "--json", "-m", route, "--sandbox", task.sandbox, "-C", str(work)]
            command = [str(task.client), *words, "--", task.prompt]
            env = environment(client_environment(home))
            started = time.monotonic()
            code = watch(command, env, view, task.timeout)
            seconds = time.monotonic() - started
        rows = self._chain.health("?exchanges=1").get("exchanges") or []
        numbers = measure(self._ledger.take(rows, view.thread))
        kept = str(repo) if self._keep else None
        run = Run(route, 1, round(seconds, 1), NOT_RUN, "", numbers, kept)
        if code:
            return replace(run, why=_short(view.failure or f"codex ended with exit code {code}"))
        tell("the check")
        try:
            why = check(task.check, work, task.timeout)
        except OSError as e:
            # Who may do everything may also have removed the folder.
            why = f"the check could not be run: {e.strerror or e}"
        return replace(run, check=FAILED if why else PASSED, why=_short(why))


def check(command: str, folder: Path, timeout: float) -> str:
    """Run the shell ``command`` in ``folder``; why it did not pass, empty when it did."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        env = environment(os.environ)
        with group(
            shell(command), env, stdout=output, stderr=subprocess.STDOUT, cwd=folder
        ) as process:
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                return f"the check was ended after {timeout:g} s"
        if code == 0:
            return ""
        output.seek(0)
        said = output.read().strip().splitlines()
    last = f": {said[-1].strip()}" if said else ""
    return f"the check ended with exit code {code}{last}"


def _short(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= _REASON else f"{line[:_REASON]}…"


class _Steps(View):
    """Prints nothing; tells how far the session is, and keeps the id of its thread."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(Console(quiet=True))
        self._tell = tell
        self._steps = 0
        self.thread = ""

    def event(self, event: Mapping[str, Any]) -> None:
        super().event(event)
        if event.get("type") == "thread.started":
            self.thread = str(event.get("thread_id") or "")
        elif event.get("type") == "item.completed":
            self._steps += 1
            self._tell(f"{self._steps} steps")
