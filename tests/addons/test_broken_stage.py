"""A stage that breaks, in any of its hooks, lets nothing through that the whole chain has not made."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from typing import Any

import brotli
import pytest
import zstandard
from mitmproxy import ctx, exceptions, http

from addons.guard import Guard
from addons.runs import run_of
from addons.stage import Stage
from tests.addons.harness import ANSWER, CODEX, KEY, TURN, Stages, error, stages, with_policy

__all__ = ["stages"]

FAULTS = [
    RuntimeError("oops"),
    asyncio.CancelledError(),
    exceptions.AddonHalt(),
    exceptions.OptionsError("no"),
    RecursionError(),
]
COMPLETED = {"id": "resp_1", "object": "response", "status": "completed", "output": []}
RESPONSES = b"event: response.completed\ndata: %b\n\n" % json.dumps(
    {"type": "response.completed", "response": COMPLETED}
).encode()
SSE = {"content_type": "text/event-stream"}
#: The stages by the hooks of a turn that they have, `intake` among them.
TURNS = ["Intake", "State", "Duplicates", "PromptRules", "Quotas", "Router", "Compaction"]
TURNS += ["Translate", "Record", "ServerReplay"]


def hooks(stages: Stages, name: str) -> list[tuple[Stage, str]]:
    return [(stage, name) for stage in stages.all if hasattr(stage, name)]


def broken(stages: Stages, stage: str, hook: str, fault: BaseException) -> None:
    """Have ``hook`` of the stage so named raise."""

    def breaks(*_: object) -> None:
        raise fault

    setattr(next(s for s in stages.all if type(s).__name__ == stage), hook, breaks)
    stages.rebuild()


def rows(stages: Stages) -> list[dict[str, Any]]:
    return list(stages.services.rows)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("stage", TURNS)
def test_before_a_turn_leaves(stages: Stages, stage: str, fault: BaseException) -> None:
    with_policy(stages)
    broken(stages, stage, "intake" if stage == "Intake" else "request", fault)
    subject = stages.send(stages.flow(TURN))
    status, message = error(subject)
    assert status == 500 and "nothing was sent" in message
    assert subject.id[:8] in message and "oops" not in message
    assert subject.request.port == 0 and not stages.run(subject).sealed
    stages.fire("response", subject)
    (row,) = rows(stages)
    assert row["status"] == 500 and row["error"] == message


@pytest.mark.parametrize("stage", ["Access", "Forward"])
def test_at_the_door(stages: Stages, stage: str) -> None:
    broken(stages, stage, "requestheaders", RuntimeError("oops"))
    subject = stages.send(stages.flow(TURN))
    assert error(subject)[0] == 500 and subject.request.port == 0


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/v1/responses/resp_1", "/picker"])
@pytest.mark.parametrize("stage", ["Pages", "Picker", "State", "Router"])
def test_pages(stages: Stages, stage: str, path: str) -> None:
    broken(stages, stage, "page", RuntimeError("oops"))
    subject = stages.send(stages.flow(path=path))
    assert subject.response is not None or subject.request.port != 0
    if subject.response and subject.response.status_code == 500:
        assert "interpose" in error(subject)[1]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("codex", [True, False])
def test_at_the_head_of_an_answer(
    stages: Stages, fault: BaseException, streamed: bool, codex: bool
) -> None:
    with_policy(stages)
    broken(stages, "Translate", "responseheaders", fault)
    subject = stages.send(stages.flow({**TURN, "stream": streamed}, **(CODEX if codex else {})))
    assert subject.response is None
    got = stages.answer(subject, ANSWER, **(SSE if streamed else {}))
    assert b"hel" not in got and b"cannot be passed on" in got
    assert subject.response and subject.response.headers["connection"] == "close"
    assert rows(stages)[-1]["status"] == 502


@pytest.mark.parametrize("stage", ["Translate", "Failover", "ResponseStore"])
def test_a_whole_answer_that_a_maker_breaks_at(stages: Stages, stage: str) -> None:
    with_policy(stages)
    broken(stages, stage, "response", RuntimeError("oops"))
    body = {"id": "1", "choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]}
    subject = stages.send(stages.flow({**TURN, "stream": False}))
    stages.answer(subject, json.dumps(body).encode(), content_type="application/json")
    status, message = error(subject)
    assert status == 502 and "cannot be passed on" in message
    (row,) = rows(stages)
    assert row["status"] == 502 and row["error"] == message


@pytest.mark.parametrize("stage", ["Account", "Totals", "Record", "Telemetry", "Quotas"])
def test_an_observer_that_breaks_takes_no_good_answer_away(stages: Stages, stage: str) -> None:
    with_policy(stages)
    for hook in ("response", "responseheaders", "settle", "ended", "error"):
        if hasattr(next(s for s in stages.all if type(s).__name__ == stage), hook):
            broken(stages, stage, hook, RuntimeError("oops"))
    got = stages.answer(stages.send(stages.flow(TURN)), ANSWER, **SSE)
    assert b"response.completed" in got and b"hel" in got
    if stage != "Totals":
        assert rows(stages)[-1]["status"] == 200


def test_a_stage_may_write_its_own_parts_only(stages: Stages) -> None:
    def writes(intake: Any, decision: Any) -> Any:
        return decision.with_(verdicts=("mine",))

    next(s for s in stages.all if type(s).__name__ == "Compaction").request = writes
    stages.rebuild()
    assert error(stages.send(stages.flow(TURN)))[0] == 500


def test_a_stage_that_hangs(stages: Stages) -> None:
    async def hangs(*_: object) -> None:
        await asyncio.Event().wait()

    next(s for s in stages.all if type(s).__name__ == "Quotas").request = hangs
    stages.rebuild()
    stages.runner._patience = 0.05
    status, message = error(stages.send(stages.flow(TURN)))
    assert status == 500 and "took longer" in message


def test_the_guard_lets_nothing_out_that_no_pipeline_has_made(stages: Stages) -> None:
    guard = Guard()
    bare = stages.flow(TURN)
    guard.request(bare)
    assert bare.response and bare.response.status_code == 500
    assert KEY not in (bare.response.text or "")
    made = stages.send(stages.flow(TURN))
    guard.request(made)
    assert made.response is None


def test_a_turn_ends_though_its_script_was_unloaded(stages: Stages) -> None:
    subject, guard = stages.send(stages.flow(TURN)), Guard()
    body = b'{"id":"resp_1","object":"response","status":"completed","output":[]}'
    subject.response = http.Response.make(200, body, {"content-type": "application/json"})
    guard.responseheaders(subject)
    run = run_of(subject)
    assert run and run.head
    stages.loop.run_until_complete(guard.response(subject))
    assert rows(stages)[-1]["status"] == 200 and run_of(subject) is None


@pytest.mark.parametrize("where", ["path", "host"])
def test_bytes_that_are_no_text_are_refused_all_the_same(stages: Stages, where: str) -> None:
    subject = stages.flow(TURN)
    if where == "path":
        subject.request.data.path = b"/v1/\xff"
    else:
        subject.request.data.headers["host"] = b"evil\xff.example"  # type: ignore[assignment]
    assert error(stages.send(subject))[0] == (404 if where == "path" else 403)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("upstream", ["chat", "responses"])
def test_a_stream_that_comes_encoded_is_read(stages: Stages, coding: str, upstream: str) -> None:
    ctx.options.update(upstream=upstream)
    packs = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress}
    pack = packs.get(coding, zstandard.ZstdCompressor().compress)
    plain = ANSWER if upstream == "chat" else RESPONSES
    answers = [(plain, {}), (pack(plain), {"content_encoding": coding})]
    got = [
        stages.answer(stages.send(stages.flow(TURN)), body, **SSE, **headers)
        for body, headers in answers
    ]
    assert got[0] == got[1] and b"response.completed" in got[0]
    broken = stages.send(stages.flow(TURN))
    end = stages.answer(broken, b"\xff\xff nonsense", **SSE, content_encoding=coding)
    assert b"as its header says" in end
    assert broken.response and "content-encoding" not in broken.response.headers
    assert rows(stages)[-1]["error"]
