"""The comparison with other commits, its pure parts: intervals, misses, order, tables, options."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.against import report
from benchmarks.against.pairs import Estimate, compared, interval, order
from benchmarks.against.run import Part, figures
from benchmarks.load import Sample
from benchmarks.systems import DIRECTIONS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("count", "low", "high"), [(6, 1, 6), (7, 1, 7), (9, 2, 8), (20, 6, 15), (100, 40, 61)]
)
def test_the_interval_is_that_of_the_tables_of_order_statistics(
    count: int, low: int, high: int
) -> None:
    values = [float(n) for n in range(1, count + 1)]
    random.Random(1).shuffle(values)
    assert interval(values) == (low, high)


@pytest.mark.parametrize("count", range(6))
def test_few_values_have_no_interval(count: int) -> None:
    assert interval([1.0] * count) is None


@pytest.mark.parametrize(
    ("name", "median"), [("lognormal", 1.0), ("uniform", 0.5), ("exponential", 0.6931)]
)
def test_the_interval_holds_the_median_of_a_known_distribution(name: str, median: float) -> None:
    chance = random.Random(name)
    draw = {
        "lognormal": lambda: chance.lognormvariate(0, 0.4),
        "uniform": chance.random,
        "exponential": lambda: chance.expovariate(1),
    }[name]
    held = 0
    for _ in range(4000):
        found = interval([draw() for _ in range(20)])
        assert found
        held += found[0] <= median <= found[1]
    # 95.9 % by the binomial distribution; 4000 runs tell it to a third of a percent.
    assert held / 4000 == pytest.approx(0.959, abs=0.012)


@pytest.mark.parametrize(
    ("bounds", "miss"),
    [((1.031, 1.2), True), ((1.03, 1.2), False), ((0.99, 1.5), False), ((0.8, 0.9), False)],
)
def test_a_miss_is_an_interval_wholly_above_the_limit(
    bounds: tuple[float, float], miss: bool
) -> None:
    assert Estimate(1.1, bounds).missed is miss


def test_without_an_interval_nothing_is_missed() -> None:
    assert not compared([2.0] * 5, [1.0] * 5).missed  # type: ignore[union-attr]
    assert compared([2.0] * 6, [1.0] * 6).missed  # type: ignore[union-attr]


@pytest.mark.parametrize(("slower", "fewest", "most"), [(1.0, 0, 1), (1.12, 297, 300)])
def test_of_noisy_pairs_a_slower_side_is_missed_and_an_equal_one_is_not(
    slower: float, fewest: int, most: int
) -> None:
    chance, misses = random.Random(5), 0
    for _ in range(300):
        # What disturbs a pair disturbs both sides; each has a noise of 4 % of its own.
        shared = [chance.lognormvariate(0, 0.5) for _ in range(20)]
        theirs = [10 * s * chance.lognormvariate(0, 0.04) for s in shared]
        ours = [10 * s * slower * chance.lognormvariate(0, 0.04) for s in shared]
        estimate = compared(ours, theirs)
        assert estimate
        misses += estimate.missed
    assert fewest <= misses <= most


def test_ratios_are_taken_pair_by_pair() -> None:
    # Medians of each side first would say 2.0.
    estimate = compared([3, 80, 2], [3, 80, 1])
    assert estimate and estimate.median == 1.0


def test_a_side_that_used_nothing_has_no_ratio() -> None:
    assert compared([1.0, 1.0], [1.0, 0.0]) is None
    assert compared([], []) is None


@pytest.mark.parametrize("sides", [2, 3, 4])
def test_a_drift_meets_all_sides_of_a_pair_alike(sides: int) -> None:
    firsts: Counter[int] = Counter()
    for pair in range(200):
        places = order(sides, pair, 1_000)
        assert places == order(sides, pair, 1_000)
        times = [[at for at, place in enumerate(places) if place == side] for side in range(sides)]
        assert {sum(found) for found in times} == {2 * sides - 1}
        firsts[places[0]] += 1
    assert all(firsts[side] == pytest.approx(200 / sides, rel=0.35) for side in range(sides))


def test_sizes_of_a_pair_have_orders_of_their_own() -> None:
    assert [order(2, n, 1_000) for n in range(20)] != [order(2, n, 500_000) for n in range(20)]


def results(pairs: int = 20) -> dict[str, Any]:
    def side(first: float, recorder: float) -> dict[str, list[float]]:
        figures = {"first": first, "total": 20.0, "proxy": 10.0, "recorder": recorder}
        return {name: [value] * pairs for name, value in figures.items()}

    sides = {"this tree": side(12.0, 1.0), "0123456789ab": side(10.0, 1.0), "ba": side(12.0, 0.0)}
    case = {"direction": "interpose", "size": 500_000, "sides": sides, "alone": [5.0] * pairs}
    return {"pairs": pairs, "cases": [case], "unavailable": [["", "cd cannot be started: no."]]}


def test_a_miss_names_figure_case_and_commit() -> None:
    assert report.missed(results()) == [
        "time to first delta, Responses to Chat at 500 KB: 1.20 (1.20 to 1.20) times 0123456789ab"
    ]
    assert report.missed(results(pairs=5)) == []


def test_the_table_has_a_row_per_commit_with_the_cpu_of_both_processes() -> None:
    text = report.markdown(results())
    assert "| CPU of the proxy | CPU of the recorder |" in text
    even = "1.00 (1.00 to 1.00)"
    where = "Responses to Chat | 500 KB"
    slower = f"**1.20 (1.20 to 1.20)** | {even} | {even} | {even} | 25% |"
    assert f"| 0123456789ab | {where} | {slower}" in text
    # That commit's recorder was no process of its own.
    assert f"| ba | {where} | {even} | {even} | {even} | – | 25% |" in text
    assert text.endswith("\n\ncd cannot be started: no.")


def test_every_direction_has_its_words() -> None:
    cases = [{**results()["cases"][0], "direction": name} for name in DIRECTIONS]
    rows = list(report.rows({**results(), "cases": cases}))
    assert len({row.direction for row in rows}) == len(DIRECTIONS) == 5


def test_figures_of_a_pair_are_those_of_both_its_parts() -> None:
    parts = [Part([Sample(1, 4), Sample(2, 5)], 0.010, 0.002), Part([Sample(9, 9)], 0.005, 0.001)]
    found = figures(parts)
    assert (found["first"], found["total"]) == (2, 5)
    assert found["proxy"] == pytest.approx(5.0) and found["recorder"] == pytest.approx(1.0)


def benchmarks(*words: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert not done.stdout
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--against", "no-such-commit"), "benchmarks: no commit 'no-such-commit' in"),
        (("--against", "HEAD", "--check", "--pairs", "5"), "benchmarks: --check needs --pairs 6"),
        (("--against", "HEAD", "--only", "litellm"), "benchmarks: --only litellm is no direction"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_sentence(
    words: tuple[str, ...], sentence: str
) -> None:
    code, lines = benchmarks(*words)
    assert code == 2 and len(lines) == 1 and lines[0].startswith(sentence), lines


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--pairs", "20"), "--pairs is for --against"),
        (("--against", "HEAD", "--rounds", "3"), "--against counts --pairs, not --rounds"),
        (("--against", "HEAD", "--pairs", "0"), "'0' is not a number from 1 on"),
        (("--sizes", "1kb"), "'1kb' is not a number from 1 on"),
    ],
)
def test_options_that_make_no_sense_are_named(words: tuple[str, ...], sentence: str) -> None:
    code, lines = benchmarks(*words)
    assert code == 2 and sentence in lines[-1], lines
