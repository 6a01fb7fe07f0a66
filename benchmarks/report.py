"""Figures to ratios, ratios to tables: on the terminal, and in docs/benchmarks.md."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

FLOOR = "mitmdump"
OURS = "interpose"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
#: Per size in bytes, how many times the floor the chain may take.
GOALS = {1_000: 1.3, 100_000: 1.3, 500_000: 1.3, 2_000_000: 1.6}
START_GOAL = 1.2
UNRECORDED = "interpose-unrecorded"
FIGURES = (("first", "time to first delta"), ("total", "total"))


def ratio(values: Sequence[float], floor: Sequence[float]) -> tuple[float, float, float]:
    """(median, lowest, highest) of ``values`` over ``floor``, round by round."""
    found = sorted(v / f for v, f in zip(values, floor, strict=True))
    return statistics.median(found), found[0], found[-1]


def label(size: int) -> str:
    """A size as people write it."""
    return f"{size // 1_000_000} MB" if size >= 1_000_000 else f"{size // 1_000} KB"


def rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per system, size and concurrency, with its ratios to the floor."""
    found = []
    for case in results["cases"]:
        floor = case["systems"][FLOOR]
        for name, measured in case["systems"].items():
            row = {"size": case["size"], "concurrency": case["concurrency"], "system": name}
            for figure in ("first", "total", "cpu"):
                row[figure] = ratio(measured[figure], floor[figure])
            found.append(row)
    return found


def _recording(results: Mapping[str, Any]) -> list[tuple[str, float, float, float]]:
    """Per case, what recording adds to the chain's CPU: median, lowest and highest share."""
    found = []
    for case in results["cases"]:
        if measured := case["systems"].get(UNRECORDED):
            shares = ratio(case["systems"][OURS]["cpu"], measured["cpu"])
            where = f"{label(case['size'])}, {case['concurrency']} at once"
            found.append((where, *(share - 1 for share in shares)))
    return found


def recording(results: Mapping[str, Any]) -> list[str]:
    """The same, a sentence each."""
    return [
        f"recording adds {median:.0%} to the chain's CPU at {where} ({low:.0%} to {high:.0%})"
        for where, median, low, high in _recording(results)
    ]


def missed(results: Mapping[str, Any]) -> list[str]:
    """What the chain promises and did not keep, a sentence each."""
    found = []
    for row in rows(results):
        goal = GOALS.get(row["size"])
        if not row["system"].startswith(OURS) or goal is None:
            continue
        for figure, name in FIGURES:
            if row[figure][0] > goal:
                where = f"{label(row['size'])} at concurrency {row['concurrency']}"
                found.append(
                    f"{row['system']}: {name} {row[figure][0]:.2f}x at {where}, goal {goal}x"
                )
    by_case = {(r["size"], r["concurrency"], r["system"]): r for r in rows(results)}
    for (size, concurrency, name), row in by_case.items():
        ours = by_case[size, concurrency, OURS]
        if name in ("direct", FLOOR) or name.startswith(OURS):
            continue
        for figure, what in FIGURES:
            if row[figure][0] < ours[figure][0]:
                found.append(
                    f"{name} is ahead in {what} at {label(size)}, concurrency {concurrency}"
                )
    start = results["start"].get(OURS)
    if start and (found_start := ratio(start, results["start"][FLOOR])[0]) > START_GOAL:
        found.append(f"first answer after start {found_start:.2f}x, goal {START_GOAL}x")
    return found


def markdown(results: Mapping[str, Any]) -> str:
    """The tables for the docs: ratios only."""
    lines = [
        f"`{OURS}` and its peers as multiples of `{FLOOR}` in the same run (median over"
        f" {results['rounds']} interleaved rounds, lowest to highest in brackets).",
        "",
        "| body | at once | system | time to first delta | total | CPU |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows(results):
        if row["system"] == FLOOR:
            continue
        figures = " | ".join(_cell(row[f]) for f in ("first", "total", "cpu"))
        where = f"{label(row['size'])} | {row['concurrency']}"
        lines.append(f"| {where} | {row['system']} | {figures} |")
    lines += [
        "",
        "| system | from the command to its first answer | peak memory |",
        "|---|---|---|",
    ]
    for name, times in results["start"].items():
        if name not in (FLOOR, "direct"):
            start = _cell(ratio(times, results["start"][FLOOR]))
            memory = results["peak"][name] / results["peak"][FLOOR]
            lines.append(f"| {name} | {start} | {memory:.2f} |")
    lines += ["", *(f"* {line}" for line in recording(results))]
    for name, why in results["unavailable"].items():
        lines += ["", f"`{name}` could not be run: {why}"]
    return "\n".join(lines)


def _cell(found: tuple[float, float, float]) -> str:
    return f"{found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f})"
