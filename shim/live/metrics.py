"""Counters of what the chain has done, in Prometheus' text form."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..record.summary import repairs
from ..shown import plain

#: Upper bounds of what the chain itself adds to a turn, in seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
#: Clients may ask for any name: so many are told apart.
_MOST_MODELS = 100
_OTHERS = "others"
#: Characters of a name.
_LONGEST = 400
_TOKENS = ("input", "cached", "output", "saved")


class Metrics:
    """What came of the turns so far, from their rows (`summary.Row` as plain fields)."""

    def __init__(self) -> None:
        self._turns: Counter[tuple[str, str, str]] = Counter()
        self._tokens: Counter[tuple[str, str]] = Counter()
        self._dollars: Counter[str] = Counter()
        #: How many tool calls were made of text, or mended.
        self.repairs = 0
        #: How many requests came while the same one was under way.
        self.duplicates = 0
        self._added = [0] * (len(BUCKETS) + 1)
        self._added_sum = 0.0
        self._models: set[str] = set()

    def add(self, row: Mapping[str, Any], hide: Callable[[str], str] = str) -> None:
        """Count one exchange; ``hide`` takes keys out of a name."""
        route = row.get("route") or {}
        name = f"{route['provider']}/{route['model']}" if route else "none"
        model = self._known(hide(name)[:_LONGEST])
        status = int(row.get("status") or 0)
        self._turns[model, str(row.get("client") or "other"), str(status)] += 1
        account, usage = row.get("account") or {}, row.get("usage") or {}
        for name in _TOKENS:
            count = account.get(name) or usage.get(f"{name}_tokens") or 0
            self._tokens[model, name] += max(0, count)
        self.repairs += repairs(row)
        self._dollars[model] += account.get("dollars") or 0
        added = max(0.0, (row.get("ms") or {}).get("added") or 0.0) / 1000
        self._added[bisect_left(BUCKETS, added)] += 1
        self._added_sum += added

    def spent(self) -> dict[str, float]:
        """Dollars by ``PROVIDER/MODEL``, where the price is known."""
        return dict(self._dollars)

    def text(self, *, open: int = 0, recording: bool = True) -> str:
        """All of it; ``open``: exchanges under way, ``recording``: whether they can be recorded."""
        return "\n".join(self._lines(open, recording)) + "\n"

    def _lines(self, open: int, recording: bool) -> Iterator[str]:
        yield from _head("interpose_turns_total", "counter", "Exchanges that have ended.")
        for (model, client, status), count in sorted(self._turns.items()):
            names = {"model": model, "client": client, "status": status}
            yield _sample("interpose_turns_total", names, count)
        yield from _head("interpose_failures_total", "counter", "Those with an error status.")
        failed: Counter[str] = Counter()
        for (model, _, status), count in self._turns.items():
            failed[model] += count if int(status) >= 400 else 0
        for model, count in sorted(failed.items()):
            yield _sample("interpose_failures_total", {"model": model}, count)
        yield from _head("interpose_tokens_total", "counter", "Tokens, by what became of them.")
        for (model, kind), tokens in sorted(self._tokens.items()):
            yield _sample("interpose_tokens_total", {"model": model, "kind": kind}, tokens)
        yield from _head("interpose_cost_dollars_total", "counter", "Where the price is known.")
        for model, dollars in sorted(self._dollars.items()):
            yield _sample("interpose_cost_dollars_total", {"model": model}, round(dollars, 6))
        yield from _head("interpose_duplicates_total", "counter", "Came while under way already.")
        yield f"interpose_duplicates_total {self.duplicates}"
        yield from _head("interpose_repairs_total", "counter", "What was mended in answers.")
        yield f"interpose_repairs_total {self.repairs}"
        yield from _head("interpose_turns_open", "gauge", "Exchanges under way.")
        yield f"interpose_turns_open {open}"
        yield from _head("interpose_recording", "gauge", "1 while exchanges can be recorded.")
        yield f"interpose_recording {int(recording)}"
        name = "interpose_added_seconds"
        yield from _head(name, "histogram", "What the chain itself adds to a turn.")
        total = 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self._added, strict=True):
            total += count
            yield _sample(f"{name}_bucket", {"le": bound}, total)
        yield f"{name}_sum {round(self._added_sum, 6)}"
        yield f"{name}_count {total}"

    def _known(self, model: str) -> str:
        if model not in self._models and len(self._models) >= _MOST_MODELS:
            return _OTHERS
        self._models.add(model)
        return model


def _head(name: str, kind: str, about: str) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    said = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{said}}} {value}"


def _escaped(text: str) -> str:
    return plain(text, "\n").replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
