"""What a soak found: figures for the docs, and what must hold."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec

from addons.flowfile import Unreadable, files, flows_of
from benchmarks.soak.agents import TURNS, Load
from benchmarks.soak.chain import RATE
from benchmarks.soak.watch import Watch
from benchmarks.systems import ROOT
from shim.record.files import PACKED

_MB = 1 << 20


class Plan(msgspec.Struct):
    """What is asked for: ``hours`` on the chain's clock."""

    hours: float
    sessions: int
    tool: str = "mitmdump"

    @property
    def rotate(self) -> int:
        """MB of a flow file."""
        return 64 if self.hours > 6 else 2

    @property
    def keep(self) -> int:
        """MB of all flow files; little enough that the oldest must go."""
        return 32 if self.hours > 6 else 1

    @property
    def flat(self) -> float:
        """The last quarter's memory may be so many times the second one's: what is kept of sessions
        has come to its bounds by then, or, in a short run, is only on the way there."""
        return 1.25 if self.hours > 6 else 2.0


class Found(msgspec.Struct):
    """What came out. ``failed`` names those of ``checks`` that are not as they should be."""

    figures: dict[str, str]
    checks: dict[str, str]
    failed: list[str]
    wrong: list[str]
    samples: list[Any]


def found(plan: Plan, load: Load, watch: Watch, left: list[str], log: str) -> Found:
    """All of it; ``left`` are the flow files of earlier chains, ``log`` is what the chain said."""
    made = Found(_figures(plan, load, watch), {}, [], load.wrong, list(watch.samples))

    def check(name: str, good: bool, said: str) -> None:
        made.checks[name] = said
        if not good:
            made.failed.append(name)

    check("answers", not load.wrong, f"{len(load.wrong)} were not as they should be")
    for what in ("proxy", "recorder"):
        grown = watch.growth(what)
        check(f"memory of the {what}", grown <= plan.flat, f"{grown:.2f}, at most {plan.flat}")
    unwell = [s.status for s in watch.samples if s.status != "ok"]
    check("health", not unwell, f"{len(unwell)} of {len(watch.samples)} looks: {unwell[:1]}")
    check("log", "Traceback" not in log, "no traceback" if "Traceback" not in log else log[-3000:])
    _check_files(check, plan, watch, left, log.count("an urgent one takes its place"))
    said = _verified(watch.records)
    check("interpose audit verify", said[0] == 0, said[1])
    said = _read(watch.records)
    check("flow files read", said[0] == 0, said[1])
    return made


def _check_files(check: Any, plan: Plan, watch: Watch, left: list[str], ended: int) -> None:
    """``ended`` recorders had to go: each may leave what it was packing for the day after."""
    there = {path.name for path in watch.records.glob("*.flow*")}
    bare = {name.removesuffix(PACKED) for name in there}
    own = sorted(watch.sizes.keys() - set(left))
    days = {name[:8] for name in own}
    check("a file a day", len(days) > 1, f"{len(own)} files of {len(days)} days")
    largest = max(size for size, _ in watch.sizes.values()) / _MB
    sized = len(own) > len(days) and largest <= plan.rotate
    check("files of a size", sized, f"the largest has {largest:.1f} MB of {plan.rotate}")
    plain = [name for name in there if not name.endswith(PACKED)]
    check("finished files are packed", len(plain) <= 1 + ended, f"{len(plain)} are not")
    dropped = len(own) - len(bare & set(own))
    total = sum(path.stat().st_size for path in watch.records.glob("*.flow*")) / _MB
    # What is written to, and what was finished since the last look, come on top.
    kept = dropped > 0 and total <= plan.keep + plan.rotate
    check("kept by size", kept, f"{total:.0f} MB of {plan.keep}, {dropped} files dropped")
    check("dropped by age", left[0] not in bare, f"left of before: {bare & set(left)}")
    waits = [name for name in left if name in there]
    check("older ones are packed", not waits, f"not packed: {waits}")
    first, last = watch.samples[0].segments, watch.segments()
    check("journal", last > 1, f"{first} segments at first, {last} at the end")


def _figures(plan: Plan, load: Load, watch: Watch) -> dict[str, str]:
    turns = sum(load.came.values())
    sessions = turns / TURNS
    before, after = watch.packs()
    per = watch.written() / _MB / sessions
    came = ", ".join(f"{count:,} {name}" for name, count in load.came.most_common())
    made = {
        "hours on the chain's clock": f"{plan.hours:g}, {RATE} times as fast",
        "sessions side by side": f"{plan.sessions}",
        "sessions in all": f"{load.begun}",
        "turns": f"{turns:,}: {came}",
        "sent by the clients": f"{load.sent / _MB:,.0f} MB, "
        f"{load.sent / turns / 1024:.0f} KB a turn",
    }
    for what in ("proxy", "recorder"):
        made[f"memory of the {what}, last quarter over second"] = f"{watch.growth(what):.2f}"
        made[f"memory of the {what}, median of the last quarter"] = (
            f"{watch.quarter(4, what):.0f} MB, {watch.peak(what):.0f} at most"
        )
    made |= {
        "on disk for a session of 30 turns": f"{per:.1f} MB as written",
        "packed": f"{per * after / max(1, before):.2f} MB, {after / max(1, before):.0%} of that",
        "flow files": f"{len(watch.sizes)} begun, at most {watch.peak('files')} there",
        "all flow files": f"{watch.peak('plain'):.0f} MB at most plain, "
        f"{watch.peak('packed'):.0f} MB packed",
    }
    return made


def _verified(records: Path) -> tuple[int, str]:
    words = [str(ROOT / ".venv" / "bin" / "interpose"), "audit", "verify", "--journal"]
    done = subprocess.run([*words, str(records)], capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).strip()[-300:]


def _read(records: Path) -> tuple[int, str]:
    count = 0
    try:
        for path in files([str(records)]):
            count += sum(1 for _ in flows_of(path))
    except Unreadable as e:
        return 1, str(e)
    return (0 if count else 1), f"{count:,} flows"
