"""What a client keeps of one upstream's answers does not trouble the next upstream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shim.tools.bridge import Bridge
from shim.turn import Finish, Started, Text, Turn
from shim.wire.fields import pass_on
from shim.wire.protocols import codec
from shim.wire.reasoning import pack

OURS = pack("other", {"reasoning_content": "hm"})
THEIRS = "EqQB/+8="


def messages(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    answer = {"role": "assistant", "content": [*blocks, {"type": "text", "text": "ok  ü"}]}
    return [{"role": "user", "content": "hi"}, answer, {"role": "user", "content": [OURS][:0]}]


def thinking(signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": "hm", "signature": signature}


def reasoning(sealed: str | None) -> dict[str, Any]:
    return {"type": "reasoning", "summary": [], "encrypted_content": sealed}


def chat(**fields: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ok", **fields}]


def detail(data: str, format: str) -> dict[str, Any]:
    return {"type": "reasoning.encrypted", "data": data, "format": format}


QUOTE = {"type": "function_call_output", "call_id": "c", "output": f"prints {OURS}"}
SEALED = {"type": "redacted_thinking", "data": OURS}
KEPT = {"type": "redacted_thinking", "data": THEIRS}
MIXED = [detail(OURS, "interpose"), detail(THEIRS, "openai-responses-v1")]

CASES = [
    ("messages", messages(thinking(OURS), thinking(THEIRS)), messages(thinking(THEIRS))),
    ("messages", messages(SEALED, KEPT), messages(KEPT)),
    ("messages", [{"role": "assistant", "content": [SEALED]}, messages()[0]], [messages()[0]]),
    ("responses", [reasoning(OURS), reasoning(THEIRS), QUOTE], [reasoning(THEIRS), QUOTE]),
    ("responses", [reasoning(None), QUOTE], [reasoning(None), QUOTE]),
    ("chat", chat(reasoning_details=MIXED), chat(reasoning_details=MIXED[1:])),
    (
        "chat",
        chat(reasoning_details=MIXED[:1], reasoning_content="hm"),
        chat(reasoning_content="hm"),
    ),
    ("chat", [{"role": "user", "content": OURS}], [{"role": "user", "content": OURS}]),
]


@pytest.mark.parametrize(("protocol", "before", "after"), CASES)
def test_reasoning_of_another_upstream_is_left_out_where_bytes_pass(
    protocol: str, before: list[Any], after: list[Any]
) -> None:
    """No provider can read what the chain packed; Anthropic and OpenAI refuse the whole request."""
    sent = json.loads(pass_on(read(protocol, before), model="m", third_party=False))
    assert sent == {"model": "m", place(protocol): after}


def test_a_string_as_input_passes() -> None:
    body = json.dumps({"model": "m", "input": f"what is {OURS}?"}).encode()
    assert pass_on(codec("responses").read_request(body), model="m", third_party=True) == body


@pytest.mark.parametrize("protocol", ["messages", "responses", "chat"])
def test_a_conversation_of_one_upstream_passes_byte_for_byte(protocol: str) -> None:
    history = {
        "messages": messages(thinking(THEIRS), KEPT),
        "responses": [reasoning(THEIRS), {"type": "unheard_of", "x": 1.0}],
        "chat": chat(reasoning_details=MIXED[1:]),
    }[protocol]
    turn = read(protocol, history)
    assert pass_on(turn, model="m", third_party=True) is turn.body


def place(protocol: str) -> str:
    return "input" if protocol == "responses" else "messages"


def read(protocol: str, history: list[Any]) -> Turn:
    body = json.dumps({"model": "m", place(protocol): history}, ensure_ascii=False)
    return codec(protocol).read_request(body.encode())


def test_answers_of_a_growing_conversation_have_different_ids() -> None:
    """Claude Code puts answers with the same id together; some servers give all the same."""
    ids = set()
    for history in (messages(), messages() * 2):
        turn = read("messages", history)
        encoder = codec("messages").encoder(
            turn=turn, model="m", provider="p", bridge=Bridge([]), codex=False
        )
        encoder.encode([Started("chatcmpl-1"), Text("ok"), Finish("stop")])
        assert encoder.response
        ids.add(encoder.response["id"])
    assert len(ids) == 2 and all(id.startswith("msg_") for id in ids)


@pytest.mark.parametrize("protocol", ["responses", "chat", "messages"])
def test_a_text_that_only_speaks_of_such_reasoning_keeps_every_byte(protocol: str) -> None:
    name = "input" if protocol == "responses" else "messages"
    talk = [{"role": "user", "content": [{"type": "text", "text": f"what is {OURS}?"}]}]
    body = json.dumps({"model": "m", "max_tokens": 9, name: talk}).encode()
    turn = codec(protocol).read_request(body)
    assert pass_on(turn, model="m", third_party=True) == body
