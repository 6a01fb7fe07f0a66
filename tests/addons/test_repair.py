"""Repair under mitmproxy: a note on the flow, a counter, and the policy's word for each provider."""

from __future__ import annotations

from typing import Any

from shim.policy.load import parse_policy
from shim.record.summary import decisions
from tests.addons.harness import Stages, stages
from tests.unit.fixtures import DONE, chunk

__all__ = ["stages"]

BODY: dict[str, Any] = {
    "model": "m",
    "stream": True,
    "input": "hi",
    "tools": [{"type": "function", "name": "mine", "parameters": {"type": "object"}}],
}
CALL = '<tool_call>{"name": "mine", "arguments": {}}</tool_call>'
SSE = {"content_type": "text/event-stream"}


def answered(stages: Stages, repair: str, said: str = CALL) -> tuple[bytes, list[str]]:
    stages.services.policies.put(
        parse_policy(f"""
providers: {{ up: {{ base_url: "http://127.0.0.1:9/v1", key: k }} }}
models: {{ m: {{ provider: up }} }}
default: m
{repair}
""")
    )
    flow = stages.send(stages.flow(BODY, path="/v1/responses"))
    answer = b"".join(chunk({"content": letter}) for letter in said) + chunk({}, "stop") + DONE
    got = stages.answer(flow, answer, **SSE)
    notes = decisions(stages.services.rows[-1])
    return got, [note for note in notes if note.startswith("repair: ")]


def test_a_repair_is_noted_and_counted(stages: Stages) -> None:
    got, notes = answered(stages, "repair: {}")
    assert b'"type":"function_call"' in got and b"<tool_call" not in got
    assert notes == ["repair: a call of mine made of text (hermes)"]
    assert stages.services.metrics.repairs == 1


def test_it_is_off_without_a_policy_for_it_and_where_the_policy_says_so(stages: Stages) -> None:
    for off in ("", "repair: {models: {m: false}}", "repair: {providers: {up: false}}"):
        got, notes = answered(stages, off)
        assert b'"type":"function_call"' not in got and not notes
    assert stages.services.metrics.repairs == 0


def test_talk_stays_talk(stages: Stages) -> None:
    got, notes = answered(stages, "repair: {}", f"It is written `{CALL}` there.")
    assert b'"type":"function_call"' not in got and not notes
