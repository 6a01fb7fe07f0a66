"""What `interpose compare` counts and prints: the runs of each route, their medians, the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from rich.console import Group
from rich.text import Text

from . import screen
from .screen import Column

#: What is compared, by its field of `Run`, and the head of its column.
MEASURES = {
    "requests": "requests",
    "input_tokens": "input\ntokens",
    "cached_tokens": "of which\ncached",
    "output_tokens": "output\ntokens",
    "tool_calls": "tool\ncalls",
    "seconds": "wall\ntime",
}

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"


@dataclass(frozen=True)
class Numbers:
    """What a run's requests came to. Tokens are None where no answer named them; ``uncounted``
    is how many did not. ``answered_by`` counts the answers of each model."""

    requests: int = 0
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    tool_calls: int = 0
    uncounted: int = 0
    answered_by: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One run: ``seconds`` of the session without the check, ``why`` it does not count ("" when it
    does), ``copy`` the repository it was in, where that is kept."""

    route: str
    number: int
    seconds: float
    check: str
    why: str = ""
    numbers: Numbers = Numbers()
    copy: str | None = None

    @property
    def passed(self) -> bool:
        return self.check == PASSED

    def fields(self) -> dict[str, Any]:
        """The run for the machine-readable result."""
        plain = asdict(self)
        numbers = plain.pop("numbers")
        return plain | numbers


class Ledger:
    """Tells whose run an exchange of the chain belongs to: one that is new, and of no thread that
    an earlier run had. What a run that was ended leaves behind comes late."""

    def __init__(self) -> None:
        self._exchanges: set[str] = set()
        self._threads: set[str] = set()

    def take(self, rows: Iterable[Mapping[str, Any]], thread: str = "") -> list[Mapping[str, Any]]:
        """The rows of the run that has just ended; ``thread`` is the one it said it had."""
        new = [row for row in rows if row["exchange"] not in self._exchanges]
        own = [row for row in new if row.get("thread") not in self._threads]
        self._exchanges.update(row["exchange"] for row in new)
        self._threads.update(name for row in own if (name := row.get("thread")))
        self._threads |= {thread} - {""}
        return own


def measure(rows: Sequence[Mapping[str, Any]]) -> Numbers:
    """Sums over the rows of ``GET /health?exchanges=1``."""
    answered = [row for row in rows if not row.get("error")]
    counted = [usage for row in rows if isinstance(usage := row.get("usage"), Mapping)]

    def tokens(name: str) -> int | None:
        return sum(int(usage.get(name) or 0) for usage in counted) if counted else None

    return Numbers(
        requests=len(rows),
        input_tokens=tokens("input_tokens"),
        cached_tokens=tokens("cached_tokens"),
        output_tokens=tokens("output_tokens"),
        tool_calls=sum(int(row.get("calls") or 0) for row in rows),
        uncounted=sum(not row.get("usage") for row in answered),
        answered_by=dict(Counter(_label(row.get("route") or {}) for row in answered)),
    )


def _label(route: Mapping[str, Any]) -> str:
    return str(route.get("name") or f"{route.get('provider')}:{route.get('model')}")


def medians(runs: Iterable[Run]) -> dict[str, float | None]:
    """The median of each measure over the runs that passed; None where there is nothing."""
    fields = [run.fields() for run in runs if run.passed]
    known = {name: [f[name] for f in fields if f[name] is not None] for name in MEASURES}
    return {name: median(values) if values else None for name, values in known.items()}


def table(runs: Mapping[str, Sequence[Run]], room: int | None) -> Group:
    """A line for each route, in ``room`` columns of a terminal or None for a pipe; what did not
    pass counts only in the last column."""
    columns = [Column("route", text=True, fold=True), *map(Column, MEASURES.values())]
    rows: list[list[str | Text]] = []
    for route, attempts in runs.items():
        numbers = [_shown(name, value) for name, value in medians(attempts).items()]
        style = "green" if any(run.passed for run in attempts) else "red"
        rows.append([route, *numbers, Text(_verdict(attempts), style)])
    return screen.table([*columns, Column("check", text=True, least=7)], rows, room)


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    if name == "seconds":
        return f"{value:.1f} s"
    return f"{value:,.1f}".removesuffix(".0")


def _verdict(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        return runs[0].check
    return f"{sum(run.passed for run in runs)} of {len(runs)}"


def notes(runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """What stands below the table: who was left out and why, and what the numbers hide."""
    said = []
    for route, tried in runs.items():
        for run in tried:
            if run.why:
                which = f"{route}, run {run.number}" if len(tried) > 1 else route
                said.append(f"{which} is left out: {run.why}")
    for route, tried in runs.items():
        passed = [run.numbers for run in tried if run.passed]
        by: Counter[str] = Counter()
        for numbers in passed:
            by.update(numbers.answered_by)
        if set(by) - {route}:
            shown = ", ".join(f"{name} ({count})" for name, count in by.most_common())
            said.append(f"{route} was answered by {shown}")
        if uncounted := sum(numbers.uncounted for numbers in passed):
            said.append(f"{route}: {uncounted} answers came without a count of their tokens")
    return said


def result(runs: Mapping[str, Sequence[Run]]) -> list[dict[str, Any]]:
    """The routes for the machine-readable result."""
    return [
        {
            "route": route,
            "passed": sum(run.passed for run in tried),
            "median": medians(tried),
            "runs": [run.fields() for run in tried],
        }
        for route, tried in runs.items()
    ]
