"""State over an upstream that has none: the OpenAI SDK goes on with stored responses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.answers import chat_text, json_answer, responses_text
from tests.e2e.chain import NOWHERE, Chain
from tests.e2e.upstreams import Answer, Seen, Upstream
from tests.everything import everything


def chat(seen: Seen) -> Answer:
    """A model that says how many messages it got; each answer has an id of its own."""
    if seen.method != "POST":
        return json_answer(404, {"error": {"message": "no such page"}})
    asked = seen.json()
    text = f"answer {seen.number}: {len(asked['messages'])} messages"
    if asked.get("stream"):
        answer = chat_text(text)
        name = f"chatcmpl-{seen.number}".encode()
        return Answer(200, answer.headers, [c.replace(b"chatcmpl-1", name) for c in answer.chunks])
    message = {"role": "assistant", "content": text}
    return json_answer(
        200,
        {
            "id": f"chatcmpl-{seen.number}",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        },
    )


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(chat) as running:
        yield running


@pytest.fixture
def chain(upstream: Upstream) -> Iterator[Chain]:
    with Chain(upstream.url, options={"upstream": "chat"}) as running:
        yield running


def sdk(chain: Chain, key: str = "any") -> openai.OpenAI:
    return openai.OpenAI(base_url=chain.url, api_key=key, max_retries=0)


def said(upstream: Upstream) -> list[tuple[str, str]]:
    """The conversation as the upstream got it last."""
    return [(m["role"], m["content"]) for m in upstream.seen[-1].json()["messages"]]


def test_a_conversation_goes_on_by_the_id_of_its_last_response(
    chain: Chain, upstream: Upstream
) -> None:
    client = sdk(chain)
    first = client.responses.create(model="m", input="one", instructions="be brief")
    second = client.responses.create(model="m", input="two", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    with client.responses.stream(
        model="m", input="three", previous_response_id=second.id
    ) as stream:
        third = stream.get_final_response()
    client.responses.create(model="m", input="four", previous_response_id=third.id)
    # Instructions belong to their own turn only.
    assert said(upstream) == [
        ("user", "one"),
        ("assistant", "answer 1: 2 messages"),
        ("user", "two"),
        ("assistant", "answer 2: 3 messages"),
        ("user", "three"),
        ("assistant", "answer 3: 5 messages"),
        ("user", "four"),
    ]


def test_a_tool_loop_sends_only_outputs(chain: Chain, upstream: Upstream) -> None:
    client = sdk(chain)
    call: Any = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    first = client.responses.create(model="m", input=[{"role": "user", "content": "go"}, call])
    output: Any = {"type": "function_call_output", "call_id": "c1", "output": "done"}
    client.responses.create(model="m", input=[output], previous_response_id=first.id)
    messages = upstream.seen[-1].json()["messages"]
    assert [m for m in messages if m["role"] == "tool"] == [
        {"role": "tool", "tool_call_id": "c1", "content": "done"}
    ]


def test_retrieve_list_and_delete(chain: Chain) -> None:
    client = sdk(chain)
    first = client.responses.create(model="m", input="one")
    second = client.responses.create(
        model="m",
        input=[{"role": "user", "content": "two"}],
        previous_response_id=first.id,
    )
    found = client.responses.retrieve(second.id)
    assert found.output_text == second.output_text and found.previous_response_id == first.id
    page = client.responses.input_items.list(second.id, order="asc")
    texts = [item.content[0].text for item in page.data]  # type: ignore[union-attr]
    assert texts == ["one", first.output_text, "two"]
    paged = list(client.responses.input_items.list(second.id, limit=1))
    assert [item.content[0].text for item in paged] == texts[::-1]  # type: ignore[union-attr]
    client.responses.delete(second.id)
    deleted = chain.get(f"/v1/responses/{second.id}")
    assert deleted.status_code == 404
    with pytest.raises(openai.NotFoundError, match=second.id):
        client.responses.retrieve(second.id)
    assert client.responses.retrieve(first.id).id == first.id
    import httpx

    gone = httpx.delete(f"{chain.url}/responses/{first.id}", trust_env=False)
    assert gone.json() == {"id": first.id, "object": "response", "deleted": True}


def test_what_is_gone_is_said_as_openai_does(chain: Chain, upstream: Upstream) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk(chain).responses.create(model="m", input="x", previous_response_id="resp_none")
    error = caught.value
    assert error.code == "previous_response_not_found"
    assert error.param == "previous_response_id" and "resp_none" in str(error)
    with pytest.raises(openai.BadRequestError) as caught:
        sdk(chain).responses.create(model="m", input="x", conversation="conv_1")
    assert caught.value.param == "conversation"
    assert not upstream.posts()


def test_what_is_not_to_be_stored_is_not(chain: Chain) -> None:
    client = sdk(chain)
    response = client.responses.create(model="m", input="a secret plan", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="m", input="x", previous_response_id=response.id)
    assert not (chain.record_dir / "responses.db").exists()


def test_it_survives_a_restart_and_holds_no_key(upstream: Upstream, tmp_path: Any) -> None:
    options = {"upstream": "chat", "state": str(tmp_path / "kept.db")}
    with Chain(upstream.url, options=options) as chain:
        first = sdk(chain, "sk-planted-0123456789").responses.create(model="m", input="one")
    file = tmp_path / "kept.db"
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"sk-planted" not in b"".join(everything(p) for p in tmp_path.iterdir())
    with Chain(upstream.url, options=options) as chain:
        sdk(chain).responses.create(model="m", input="two", previous_response_id=first.id)
    assert said(upstream)[0] == ("user", "one") and len(said(upstream)) == 3


def test_nobody_reads_what_another_client_key_stored(upstream: Upstream) -> None:
    options = {"upstream": "chat"}
    with Chain(upstream.url, options=options, keys=["key-of-ann", "key-of-bob"]) as chain:
        first = sdk(chain, "key-of-ann").responses.create(model="m", input="one")
        assert sdk(chain, "key-of-ann").responses.retrieve(first.id).id == first.id
        with pytest.raises(openai.NotFoundError):
            sdk(chain, "key-of-bob").responses.retrieve(first.id)
        with pytest.raises(openai.BadRequestError):
            sdk(chain, "key-of-bob").responses.create(
                model="m", input="x", previous_response_id=first.id
            )


def test_compaction_by_its_endpoint_and_going_on_from_it(chain: Chain, upstream: Upstream) -> None:
    client = sdk(chain)
    first = client.responses.create(model="m", input="build a boat")
    answer = chain.post(
        "/v1/responses/compact",
        json={"model": "m", "input": "and paint it", "previous_response_id": first.id},
    )
    compacted = answer.json()
    assert answer.status_code == 200, compacted
    asked = upstream.seen[-1].json()
    assert [m["content"] for m in asked["messages"]][0::2] == ["build a boat", "and paint it"]
    assert "summary" in asked["messages"][-1]["content"] and "tools" not in asked
    assert compacted["object"] == "response.compaction" and compacted["usage"]["total_tokens"]
    *users, item = compacted["output"]
    assert [u["content"] for u in users] == ["build a boat", "and paint it"]
    assert item["type"] == "compaction" and item["id"].startswith("cmp_")
    client.responses.create(
        model="m", input=[*compacted["output"], {"role": "user", "content": "go on"}]
    )
    texts = [m["content"] for m in upstream.seen[-1].json()["messages"]]
    assert texts[:2] == ["build a boat", "and paint it"] and texts[-1] == "go on"
    assert "answer 2: 4 messages" in texts[2], "the summary is readable"


def test_compaction_by_a_trigger_in_a_stream(chain: Chain, upstream: Upstream) -> None:
    """As Codex does it where the provider is called OpenAI (codex-wire.md section 7)."""
    tool = {"type": "function", "name": "f", "parameters": {}, "strict": False}
    turn = {
        "model": "m",
        "stream": True,
        "store": False,
        "tools": [tool],
        "input": [{"role": "user", "content": "hi"}, {"type": "compaction_trigger"}],
    }
    headers = {"user-agent": "codex_exec/0.169.0"}
    answer = chain.post("/v1/responses", json=turn, headers=headers)
    assert answer.headers["content-type"] == "text/event-stream"
    events = [
        json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")
    ]
    done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    assert [item["type"] for item in done] == ["compaction"]
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["output"] == done
    assert upstream.seen[-1].json()["stream"] is False


@pytest.mark.full
def test_an_upstream_with_state_of_its_own_keeps_it(tmp_path: Path) -> None:
    def script(seen: Seen) -> Answer:
        if seen.method == "POST":
            return responses_text("hi")
        return json_answer(200, {"id": "resp_1", "object": "response", "output": [], "theirs": 1})

    policy = """
providers: {{own: {{base_url: "{url}/v1", protocol: responses, key: sk-provider}}}}
models: {{m: {{provider: own}}}}
default: m
"""
    with Upstream(script) as upstream:
        turn = {"model": "m", "stream": True, "input": "x", "previous_response_id": "resp_theirs"}
        for given in (
            {"upstream": upstream.url},
            {"policy": policy.format(url=upstream.url), "upstream": NOWHERE},
        ):
            saved = tmp_path / "saved.flow"
            with Chain(**given, options={"save_stream_file": str(saved)}) as chain:  # type: ignore[arg-type]
                chain.post("/v1/responses", json=turn)
                assert upstream.seen[-1].json() == turn
                assert chain.get("/v1/responses/resp_1").json()["theirs"] == 1
                assert upstream.seen[-1].path == "/v1/responses/resp_1"
                chain.get("/v1/responses/resp_1/input_items?limit=3")
                assert upstream.seen[-1].path == "/v1/responses/resp_1/input_items?limit=3"
                body = {"model": "m", "input": "x"}
                chain.post("/v1/responses/compact", json=body)
                assert upstream.seen[-1].path == "/v1/responses/compact"
                assert upstream.seen[-1].json() == body
            assert b"input_items" in saved.read_bytes()
            assert b"sk-provider" not in saved.read_bytes()
        assert upstream.seen[-2].headers["authorization"] == "Bearer sk-provider"
