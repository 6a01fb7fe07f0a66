"""``python -m tests.fuzz --examples 20000 --seed 1``: as many random sessions as one likes.

They come in batches, each with a seed of its own, so that what is found in one does not keep the
next ones from being run. The same seed makes the same sessions. Ctrl-C ends it early.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import FlakyFailure

from tests.fuzz.case import PATHS, Case
from tests.fuzz.checking import check, recall, verdict
from tests.fuzz.sessions import cases

_BATCH = 200
#: Seconds between two progress lines.
_PAUSE = 5.0


class Run:
    """Sessions from ``first`` on; ``told`` counts what they were made of."""

    def __init__(self, first: int, quick: bool) -> None:
        self.first = first
        self.told: Counter[str] = Counter()
        self.found: dict[str, str] = {}
        self.done = 0
        self._phases = [Phase.generate] if quick else [Phase.generate, Phase.shrink]
        self._begun = self._said = time.monotonic()

    def batches(self, many: int) -> None:
        """``many`` sessions, of each protocol in turn."""
        names = list(PATHS)
        for number, size in enumerate(_sizes(many)):
            self._batch(names[number % len(names)], self.first * 100_003 + number, size)
            self._say(many, at_once=number * _BATCH + size >= many)

    def _batch(self, protocol: str, number: int, size: int) -> None:
        chosen = settings(
            max_examples=size,
            deadline=None,
            database=None,
            phases=self._phases,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        failing: list[tuple[Case, str]] = []
        counted = 0

        @seed(number)
        @chosen
        @given(cases(protocol))
        def holds(case: Case) -> None:
            nonlocal counted
            counted += not failing
            found = check(case, self.told)
            # Of what is made smaller, it must stay the same that was found.
            if failing:
                found = [one for one in found if one.kind == failing[0][1]]
            if found:
                failing[:] = [failing[0] if failing else (case, found[0].kind)]
                failing.append((case, verdict(case, found)))
                raise AssertionError(found[0].kind)

        try:
            holds()
        except (AssertionError, FlakyFailure) as e:
            kind, (_, text) = failing[0][1], failing[-1]
            if isinstance(e, FlakyFailure):
                text = f"not each time:\n{text}"
            self.found.setdefault(f"{protocol}, {kind}, batch {number}", text)
            print(f"\n{protocol}, {kind}:\n{text}", flush=True)
        finally:
            self.done += counted

    def _say(self, many: int, at_once: bool) -> None:
        now = time.monotonic()
        if now - self._said < _PAUSE and not at_once:
            return
        self._said = now
        rate = self.done / max(0.001, now - self._begun)
        print(f"{self.done} of {many} sessions, {rate:.0f}/s, {len(self.found)} failed", flush=True)

    def summary(self) -> str:
        """What was run, and what was found."""
        lines = [f"{what:34}{count:9}" for what, count in sorted(self.told.items())]
        lines += ["", f"{self.done} sessions, seed {self.first}, {len(self.found)} batches failed"]
        return "\n".join([*lines, *(f"- {name}" for name in self.found)])


def _sizes(many: int) -> Iterator[int]:
    while many > 0:
        yield min(_BATCH, many)
        many -= _BATCH


def main(argv: list[str]) -> int:
    """0: nothing was found; 1: something was."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=300, help="sessions (default: 300)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same sessions")
    parser.add_argument("--quick", action="store_true", help="do not make smaller what fails")
    parser.add_argument("--case", type=Path, help="a session that failed, to run it again")
    args = parser.parse_args(argv)
    if args.case:
        case = recall(args.case)
        found = check(case)
        print(case)
        print("\n".join(map(str, found)) or "nothing is wrong with it")
        return int(bool(found))
    made = Run(args.seed, args.quick)
    try:
        made.batches(args.examples)
    except KeyboardInterrupt:
        pass
    print(made.summary())
    return int(bool(made.found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
