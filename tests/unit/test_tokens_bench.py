"""The token benchmark's own parts: what the model reads, and what the report says of it."""

from __future__ import annotations

import json

import pytest

from benchmarks.tokens.agent import Broken, body
from benchmarks.tokens.follow import follow
from benchmarks.tokens.prompts import Seen, read
from benchmarks.tokens.report import BASE, Kind, billed, hits, picture, text
from benchmarks.tokens.tasks import TASKS
from tests.unit.test_dedup import numbered, output, sent


def row(route: str, bills: list[list[object]], **more: object) -> dict[str, object]:
    made = {"kind": "automatic", "route": route, "task": "a", "turns": len(bills), "failed": ""}
    return {**made, "files": "f", "bills": bills, **more}


RESULT = {
    "tokenizer": "bytes",
    "rows": [
        row(BASE, [[1000, 0, {}], [2000, 1000, {}]]),
        row("interpose, dedup", [[1000, 0, {}], [1500, 1000, {}]]),
        row("other", [[1000, 0, {}], [2000, 0, {}]], files="g"),
        row(BASE, [[5000, 0, {}]], task="b"),
        row("other", [[5000, 0, {}]], task="b", failed="it broke"),
    ],
}


def test_references_are_followed_in_every_protocol() -> None:
    items = sent(output(1, numbered(1, 60)) + output(2, "x\n" + numbered(5, 40)))
    seen = read("/v1/responses", {"input": items})
    assert follow(seen.outputs[1], seen) == "x\n" + numbered(5, 40)
    chat = [{"role": "tool", "content": item["output"]} for item in items if "output" in item]
    seen = read("/v1/chat/completions", {"messages": chat})
    assert follow(seen.outputs[1], seen) == "x\n" + numbered(5, 40)
    blocks = [{"type": "tool_result", "content": m["content"]} for m in chat]
    seen = read("/v1/messages", {"messages": [{"role": "user", "content": blocks}]})
    assert follow(seen.outputs[1], seen) == "x\n" + numbered(5, 40)


@pytest.mark.parametrize("wrong", ["lines 6-40 of output 1", "lines 5-39 of output 9"])
def test_a_reference_that_leads_nowhere_is_told(wrong: str) -> None:
    seen = Seen(outputs=[numbered(1, 30)])
    with pytest.raises(Broken):
        follow(f"[^same as {wrong}: line 5 of a file]", seen)


def test_what_codex_puts_before_an_output_is_not_read() -> None:
    head = "Chunk ID: 1\nWall time: 0.1 seconds\nProcess exited with code 0\nOutput:\n"
    assert body(f"{head}a\nOutput:\nb\n") == "a\nOutput:\nb\n"
    assert body("plain") == "plain"


def test_the_report() -> None:
    base, _, other = RESULT["rows"][:3]
    assert billed(base, 0.25) == 1000 + 1000 + 250
    assert hits([base]) == 1.0 and hits([other]) == 0.0
    kind = Kind(RESULT, "automatic")
    assert kind.common == ["a"]
    assert kind.times("interpose, dedup", 0.25) == pytest.approx(2250 / 1750)
    told = text(RESULT)
    assert "1.29" in told and "0.75 (other files) (fewer hits)" in told and "failed" in told
    assert picture(RESULT).count("<rect") == 3
    assert json.dumps(RESULT)


def test_the_tasks_are_of_different_kinds() -> None:
    assert len(TASKS) >= 10 and len({task.name for task in TASKS}) == len(TASKS)
    assert len({task.package for task in TASKS}) >= 7
