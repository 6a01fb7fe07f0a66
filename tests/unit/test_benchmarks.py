"""The benchmark's pure parts: bodies are what an agent sends, ratios are what they say."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks import page, report
from benchmarks.bodies import asked_of, body, chat_of, messages_of
from benchmarks.upstream import DELTAS, EVENTS, RESPONSES


@pytest.mark.parametrize("size", [1_000, 100_000, 500_000, 2_000_000])
def test_a_body_has_its_size(size: int) -> None:
    assert len(body(size, 7)) == pytest.approx(size, rel=0.05)


def test_a_body_is_an_agents_conversation() -> None:
    request = json.loads(body(500_000, 3))
    items = request["input"]
    assert [i["role"] for i in items[:2]] == ["developer", "user"]
    kinds = {i["type"] for i in items}
    assert kinds == {
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
    }
    calls = [i["call_id"] for i in items if i["type"].endswith("_call")]
    outputs = [i["call_id"] for i in items if i["type"].endswith("_output")]
    assert calls == outputs and len(set(calls)) == len(calls) > 100
    assert all(json.loads(i["arguments"]) for i in items if i["type"] == "function_call")
    # No item carries the size: it is many lines that differ.
    outputs_text = [i["output"] for i in items if i["type"] == "function_call_output"]
    assert max(map(len, outputs_text)) < 10_000
    assert len(set(outputs_text)) == len(outputs_text)
    assert len(request["tools"]) == 12


def test_another_number_is_another_conversation_and_the_same_one_the_same() -> None:
    assert body(100_000, 1) == body(100_000, 1)
    one, two = json.loads(body(100_000, 1)), json.loads(body(100_000, 2))
    assert one["input"][1] != two["input"][1]
    assert one["input"][5] != two["input"][5]


def test_another_model_is_the_only_difference() -> None:
    made = body(1_000, 1)
    renamed = json.loads(asked_of(made, "up/m"))
    assert renamed == {**json.loads(made), "model": "up/m"}


def test_the_same_conversation_in_the_words_of_messages() -> None:
    made = body(100_000, 1)
    asked = json.loads(messages_of(made, "x"))
    assert asked["model"] == "x" and len(asked["tools"]) == 12
    roles = [m["role"] for m in asked["messages"]]
    assert roles[0] == "user" and all(a != b for a, b in pairwise(roles))
    assert len(messages_of(made, "x")) == pytest.approx(len(made), rel=0.2)


def test_the_same_conversation_in_the_words_of_chat_completions() -> None:
    made = body(100_000, 1)
    request = json.loads(chat_of(made, "x"))
    assert request["model"] == "x" and request["stream"] and len(request["tools"]) == 12
    messages = request["messages"]
    assert [m["role"] for m in messages[:2]] == ["system", "user"]
    calls = [call for m in messages for call in m.get("tool_calls", ())]
    outputs = [m["tool_call_id"] for m in messages if m["role"] == "tool"]
    assert [call["id"] for call in calls] == outputs and len(outputs) > 20
    assert all(json.loads(call["function"]["arguments"]) for call in calls)
    assert len(chat_of(made, "x")) == pytest.approx(len(made), rel=0.2)


def test_the_canned_streams_have_their_deltas() -> None:
    texts = [e for e in EVENTS if b'"content": "word' in e]
    assert len(texts) == DELTAS
    texts = [e for e in RESPONSES if b'"response.output_text.delta"' in e]
    assert len(texts) == DELTAS and b'"response.completed"' in RESPONSES[-1]
    assert EVENTS[-1] == b"data: [DONE]\n\n"


def test_a_ratio_is_taken_round_by_round() -> None:
    # Medians of each side first would say 2.0; both sides were slow in the same round.
    assert report.ratio([3, 8, 2], [1, 4, 2]) == (2.0, 1.0, 3.0)


def results(**first: list[float]) -> dict[str, Any]:
    systems = {name: {"first": f, "total": f, "cpu": f} for name, f in first.items()}
    case = {"size": 500_000, "concurrency": 1, "systems": systems}
    return {
        "rounds": 1,
        "cases": [case],
        "unavailable": {"litellm": "no network"},
        "peak": dict.fromkeys(first, 100.0),
        "start": {name: [1.0] for name in first},
    }


def test_goals_that_are_kept_are_not_listed() -> None:
    assert report.missed(results(mitmdump=[10], interpose=[12.9], opencodex=[20])) == []


def test_missed_goals_name_the_figure_and_the_place() -> None:
    found = report.missed(results(mitmdump=[10], interpose=[14]))
    assert found == [
        "interpose: time to first delta 1.40x at 500 KB at concurrency 1, goal 1.3x",
        "interpose: total 1.40x at 500 KB at concurrency 1, goal 1.3x",
    ]


def test_a_peer_in_front_is_a_missed_goal() -> None:
    found = report.missed(results(mitmdump=[10], interpose=[12], opencodex=[11]))
    assert found == [
        "opencodex is ahead in time to first delta at 500 KB, concurrency 1",
        "opencodex is ahead in total at 500 KB, concurrency 1",
    ]


def test_a_slow_start_is_a_missed_goal() -> None:
    slow = results(mitmdump=[10], interpose=[12])
    slow["start"]["interpose"] = [1.3]
    assert report.missed(slow) == ["first answer after start 1.30x, goal 1.2x"]


def test_the_tables_replace_the_old_ones_and_leave_the_page(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    table = report.markdown(results(mitmdump=[10.0], interpose=[12.0]))
    for _ in range(2):
        page.put(report.BEGIN, report.END, "Made of commit `0123456`.", table, path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert text.count("Made of commit `0123456`.\n\n") == 1
    assert "1.20 (1.20 to 1.20)" in text
    assert "`litellm` could not be run: no network" in text


def test_what_recording_adds_is_a_share_of_the_chain_without_it() -> None:
    def cpu(*values: float) -> dict[str, list[float]]:
        return {"first": [1.0, 1.0, 1.0], "total": [1.0, 1.0, 1.0], "cpu": list(values)}

    systems = {"mitmdump": cpu(1, 1, 1), "interpose": cpu(12, 11, 15)}
    cases: list[dict[str, Any]] = [{"size": 1_000, "concurrency": 1, "systems": systems}]
    results: dict[str, Any] = {"cases": cases, "start": {"mitmdump": [1.0]}, "rounds": 3}
    assert report.recording(results) == []
    systems["interpose-unrecorded"] = cpu(10, 10, 10)
    assert report.recording(results) == [
        "recording adds 20% to the chain's CPU at 1 KB, 1 at once (10% to 50%)"
    ]
