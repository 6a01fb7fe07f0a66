"""The state stages in the chain under a test master: what goes upstream, and what is kept."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import ctx, http
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.test import taddons

from shim.codex.where import state_folder
from shim.policy.load import parse_policy
from tests.addons.harness import Stages
from tests.unit.fixtures import DONE, chunk

SSE = {"content_type": "text/event-stream"}
ANSWER = chunk({"content": "hel"}) + chunk({"content": "lo"}, "stop") + DONE
POLICY = parse_policy("""
providers:
  up: {base_url: "http://127.0.0.1:9/v1"}
  own: {base_url: "http://127.0.0.1:8/v1", protocol: responses}
models: {m: {provider: up}, native: {provider: own}}
default: m
""")


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stages]:
    monkeypatch.delenv("INTERPOSE_POLICY", raising=False)
    made = Stages()
    with taddons.context(Proxyserver(), made.runner) as context:
        context.master.should_exit.set()
        context.options.update(record_dir=str(tmp_path))
        made.runner.configure(set(context.options.keys()))

        async def reachable(endpoint: tuple[str, str, int]) -> None:
            made.asked.append(endpoint)

        made.router.probe.check = reachable
        made.services.policies.put(POLICY)
        yield made
        made.done()


def turn(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "stream": True, "input": text, **more}


def talk(stages: Stages, body: object, **headers: str) -> tuple[http.HTTPFlow, bytes]:
    flow = stages.send(stages.flow(body, **headers))
    assert flow.response is None, flow.response
    return flow, stages.answer(flow, ANSWER, **SSE)


def response_id(stream: bytes) -> str:
    last = [line for line in stream.splitlines() if line.startswith(b"data: {")][-1]
    return str(json.loads(last[6:])["response"]["id"])


def messages(flow: http.HTTPFlow) -> list[str]:
    return [m["content"] for m in json.loads(flow.request.content or b"")["messages"]]


def test_an_answer_is_there_before_its_last_bytes_leave(stages: Stages) -> None:
    """The client may go on at once, on another connection."""
    flow = stages.send(stages.flow(turn("one")))
    flow.response = http.Response.make(200, headers={"content-type": "text/event-stream"})
    del flow.response.headers["content-length"]
    stages.fire("responseheaders", flow)
    assert callable(flow.response.stream)
    sent = b"".join(flow.response.stream(ANSWER))
    kept = stages.state.kept
    assert stages.loop.run_until_complete(kept.find("", response_id(sent))) is not None


@pytest.mark.parametrize("packed", [False, True])
def test_the_upstream_and_the_recording_get_the_whole_turn(stages: Stages, packed: bool) -> None:
    _, first = talk(stages, turn("one"))
    body: object = turn("two", previous_response_id=response_id(first))
    headers = {}
    if packed:
        body, headers = gzip.compress(json.dumps(body).encode()), {"content_encoding": "gzip"}
    flow = stages.send(stages.flow(body, **headers))
    assert messages(flow) == ["one", "hello", "two"]
    decision = stages.run(flow).decision
    assert decision and decision.conversation
    assert len(json.loads(decision.conversation.turn.body)["input"]) == 3
    assert any("state" in note for note in stages.notes(flow))
    assert int(flow.request.headers["content-length"]) == len(flow.request.raw_content or b"")


def test_an_upstream_that_repeats_its_ids_keeps_the_conversation(stages: Stages) -> None:
    ids = [response_id(talk(stages, turn("one"))[1])]
    for n, text in enumerate(("two", "three", "four")):
        flow, sent = talk(stages, turn(text, previous_response_id=ids[-1]))
        ids.append(response_id(sent))
        assert messages(flow)[::2] == ["one", "two", "three", "four"][: n + 2]
    assert len(set(ids)) == 4
    flow, _ = talk(stages, turn("other", previous_response_id=ids[0]))
    assert messages(flow)[::2] == ["one", "other"]


def test_a_conversation_moves_to_an_upstream_with_its_own_state(stages: Stages) -> None:
    id = response_id(talk(stages, turn("one"))[1])
    body = {**turn("two", previous_response_id=id), "model": "native"}
    sent = json.loads(stages.send(stages.flow(body)).request.content or b"")
    assert [i["role"] for i in sent["input"]] == ["user", "assistant", "user"]
    assert "previous_response_id" not in sent
    theirs = {**turn("two", previous_response_id="resp_theirs"), "model": "native"}
    raw = json.dumps(theirs).encode()
    assert stages.send(stages.flow(raw)).request.raw_content == raw


def test_a_failed_answer_is_not_kept(stages: Stages) -> None:
    flow = stages.send(stages.flow(turn("one")))
    sent = stages.answer(flow, chunk({"content": "hel"}), **SSE)
    assert b"response.failed" in sent
    assert stages.loop.run_until_complete(stages.state.kept.find("", response_id(sent))) is None


def test_what_codex_does_not_store_costs_nothing(stages: Stages) -> None:
    talk(stages, turn("one", store=False), user_agent="codex_exec/0.169.0")
    assert not stages.state.kept._waiting


def test_an_empty_summary_is_a_failure(stages: Stages) -> None:
    flow = stages.send(stages.flow({"model": "m", "input": "x"}, path="/v1/responses/compact"))
    assert flow.request.path == "/v1/chat/completions"
    message = {"role": "assistant", "content": ""}
    whole = {
        "id": "c",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
    body = stages.answer(flow, json.dumps(whole).encode(), content_type="application/json")
    assert flow.response and flow.response.status_code == 502
    assert "no summary" in json.loads(body)["error"]["message"]


@pytest.mark.parametrize("upstream", ["chat", "messages", "responses"])
def test_compaction_by_the_reverse_target(stages: Stages, upstream: str) -> None:
    stages.services.policies.put(parse_policy(""))
    stages.router._upstream = upstream
    flow = stages.send(stages.flow({"model": "m", "input": "x"}, path="/v1/responses/compact?a=1"))
    ending = {"chat": "chat/completions", "responses": "responses/compact"}.get(upstream, upstream)
    assert flow.request.path == f"/v1/{ending}?a=1"


def test_where_it_is_written(stages: Stages, tmp_path: Path) -> None:
    talk(stages, turn("one"))
    stages.loop.run_until_complete(stages.state.kept.settle())
    assert not (tmp_path / "responses.db").exists()
    (path,) = state_folder().glob("responses/*/responses.db")
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    elsewhere = tmp_path / "elsewhere"
    for state, folder in (("", str(elsewhere)), ("responses.db", "")):
        ctx.options.update(state=state, record_dir=folder)
        stages.state.configure({"state"})
        talk(stages, turn("one"))
        stages.loop.run_until_complete(asyncio.wait_for(stages.state.kept.settle(), 10))
        assert not list(elsewhere.glob("*.db"))


def test_methods(stages: Stages) -> None:
    def status(method: str, path: str) -> int:
        flow = stages.flow(path=path)
        flow.request.method = method
        stages.send(flow)
        return flow.response.status_code if flow.response else 0

    assert status("POST", "/v1/responses/resp_1") == 405
    assert status("DELETE", "/v1/responses/resp_1/input_items") == 405
    assert status("GET", "/v1/responses/compact") == 405
    text = "{providers: {up: {base_url: 'http://127.0.0.1:9'}}}"
    stages.services.policies.put(parse_policy(text))
    assert status("GET", "/v1/responses/resp_1") == 404
    assert status("DELETE", "/v1/responses/resp_1") == 404


def test_every_option_has_its_row_in_the_docs() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "options.md").read_text("utf-8")
    rows = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    with taddons.context(Proxyserver()) as context:
        before = set(context.options.keys())
        made = Stages()
        context.master.addons.add(made.runner)
        assert rows == set(context.options.keys()) - before
        made.loop.close()
