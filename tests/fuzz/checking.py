"""One session checked: all that may not be, and what it was made of."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.fuzz import case as values
from tests.fuzz.case import Case
from tests.fuzz.chain import run
from tests.fuzz.evidence import Evidence
from tests.fuzz.policy import Variant
from tests.fuzz.properties import Complaint, complaints

#: Other sizes of pieces in which an answer may come.
_CUTS = ((1,), (100_000,))


def check(case: Case, told: Counter[str] | None = None) -> list[Complaint]:
    """What may not be of ``case``; ``told`` counts what came up in it."""
    found: list[Complaint] = []
    first: list[Any] = []
    for evidence in run(case):
        found = complaints(evidence)
        first = list(_decisions(evidence))
        if told is not None:
            told.update(_kinds(evidence))
    for cuts in _CUTS if case.recut else ():
        for evidence in run(_cut_otherwise(case, cuts)):
            found += _differences(first, list(_decisions(evidence)), cuts)
    return found


def _cut_otherwise(case: Case, cuts: tuple[int, ...]) -> Case:
    made = [replace(e, answer=replace(e.answer, cuts=cuts)) for e in case.exchanges]
    return replace(case, exchanges=tuple(made))


def _decisions(evidence: Evidence) -> Iterator[tuple[str, Any]]:
    """What must be the same however an answer's bytes are cut."""
    for number, trace in enumerate(evidence.traces):
        yield f"what is sent in {number}", trace.sent
        yield f"the answer to {number}", trace.got
        for row in evidence.row(trace):
            told = {name: value for name, value in row.items() if name != "ms"}
            yield f"the row of {number}", told


def _differences(
    one: list[tuple[str, Any]], other: list[tuple[str, Any]], cuts: tuple[int, ...]
) -> Iterator[Complaint]:
    if len(one) != len(other):
        yield Complaint("cut", f"{len(one)} and {len(other)} things are told, at cuts of {cuts}")
    for (what, a), (_, b) in zip(one, other, strict=False):
        if a != b:
            yield Complaint("cut", f"{what} differs at cuts of {cuts}: {a!r:.300} and {b!r:.300}")


def _kinds(evidence: Evidence) -> Iterator[str]:
    """What a session was made of."""
    for trace in evidence.traces:
        protocol = trace.intake.turn.protocol if trace.intake else "no turn"
        route = trace.decision.route if trace.decision else None
        to = route.protocol if route and trace.sent else "nobody"
        yield f"{protocol} to {to}"
        if trace.sent:
            how = "streamed" if trace.streams else "whole"
            yield how if trace.exchange.answer.end == "whole" else f"{how}, broken off"
        if trace.got:
            yield f"status {trace.got.status}"
    yield from (f"asked {kind}" for kind in {"auto's classifier"} if evidence.questions)


def remember(case: Case) -> Path:
    """A file with ``case``, from which it can be run again."""
    text = repr(case)
    name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    path = Path(tempfile.gettempdir()) / f"interpose-fuzz-{name}.txt"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


def recall(path: Path) -> Case:
    """The case in such a file."""
    names = {
        name: getattr(values, name) for name in ("Case", "Exchange", "Answer", "Story", "Edit")
    }
    text = path.read_bytes().decode("utf-8", "surrogatepass")
    made = eval(text, {"__builtins__": {}, "Variant": Variant, **names})  # our own repr
    assert isinstance(made, Case)
    return made


def verdict(case: Case, found: list[Complaint]) -> str:
    """What is said of a session in which something was found."""
    told = "\n".join(f"  {one}" for one in found)
    return f"{told}\nrun it again: python -m tests.fuzz --case {remember(case)}"
