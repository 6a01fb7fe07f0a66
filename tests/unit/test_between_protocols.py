"""Requests that another protocol says otherwise: files, search results, calls that broke off, what
agents tell each other, instructions in the midst of a conversation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shim.route.choose import Route
from shim.wire.protocols import codec
from shim.wire.translate import Translation

PDF = "JVBERi0xLjcK"
DATA = f"data:application/pdf;base64,{PDF}"


def sent(client: str, upstream: Any, **fields: Any) -> tuple[dict[str, Any], list[str]]:
    turn = codec(client).read_request(json.dumps({"model": "m", **fields}).encode())
    translation = Translation(turn, Route("up", upstream, "m", "m", "t"), codex=False)
    return json.loads(translation.request()), translation.notes


def user(part: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [part]}


ASKED = {
    "responses": {"input": [user({"type": "input_file", "filename": "r.pdf", "file_data": DATA})]},
    "chat": {"messages": [user({"type": "file", "file": {"filename": "r.pdf", "file_data": DATA}})]},
    "messages": {
        "max_tokens": 9,
        "messages": [
            user({"type": "document", "title": "r.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}})
        ],
    },
}


@pytest.mark.parametrize("client", ASKED)
def test_a_pdf_reaches_every_upstream_in_its_own_form(client: str) -> None:
    forms = {
        "responses": {"type": "input_file", "filename": "r.pdf", "file_data": DATA},
        "chat": {"type": "file", "file": {"file_data": DATA, "filename": "r.pdf"}},
        "messages": {"type": "document", "title": "r.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
    }
    for upstream, form in forms.items():
        body, notes = sent(client, upstream, **ASKED[client])
        (message,) = body.get("input") or body["messages"]
        assert message["content"] == [form] and not notes


def test_a_pdf_that_a_tool_returns_arrives_too() -> None:
    items = [
        {"type": "function_call", "call_id": "c", "name": "read", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_file", "filename": "r.pdf", "file_data": DATA}]},
    ]
    body, _ = sent("responses", "messages", input=items)
    assert body["messages"][-1]["content"][0]["content"][0]["source"]["data"] == PDF
    body, _ = sent("responses", "chat", input=items)
    tool, after = body["messages"][-2:]
    assert tool["role"] == "tool" and after["role"] == "user"
    assert after["content"][1] == {"type": "file", "file": {"file_data": DATA, "filename": "r.pdf"}}


def test_files_that_messages_take_as_text_and_those_they_do_not() -> None:
    for data, block in (
        ("data:text/plain;base64,aGk=", {"type": "text", "media_type": "text/plain", "data": "hi"}),
        ("data:application/zip;base64,UEsD", None),
        ("data:text/plain;base64,/w==", None),
    ):
        part = {"type": "input_file", "filename": "f", "file_data": data}
        body, notes = sent("responses", "messages", input=[user(part)])
        (sent_block,) = body["messages"][0]["content"]
        assert sent_block.get("source") == block
        assert bool(notes) is (block is None)


def test_a_search_result_is_words_for_others() -> None:
    result = {"type": "search_result", "source": "https://docs.example/x", "title": "Limits", "content": [{"type": "text", "text": "ten a minute"}]}
    for upstream in ("chat", "responses"):
        body, _ = sent("messages", upstream, max_tokens=9, messages=[user(result)])
        text = json.dumps(body)
        for word in ("Limits", "https://docs.example/x", "ten a minute"):
            assert word in text
    body, _ = sent("messages", "messages", max_tokens=9, messages=[user(result)])
    assert body["messages"] == [user(result)]


@pytest.mark.parametrize("arguments", ['{"cmd": "ls", "dir":', '{"cmd": "ls"', "ls", "[1]", '{"a": "}'])
def test_a_call_that_broke_off_is_an_object_for_strict_providers(arguments: str) -> None:
    items = [
        {"type": "function_call", "call_id": "c", "name": "run", "arguments": arguments},
        {"type": "function_call_output", "call_id": "c", "output": "failed to parse"},
    ]
    # Alone, and with something between it and its output.
    for history in (items, [items[0], {"role": "assistant", "content": "x"}, items[1]]):
        body, _ = sent("responses", "chat", input=history)
        (call,) = [c for m in body["messages"] for c in m.get("tool_calls", ())]
        assert json.loads(call["function"]["arguments"]) == {"input": arguments}
        body, _ = sent("responses", "messages", input=history)
        (use,) = [b for m in body["messages"] for b in m["content"] if b["type"] == "tool_use"]
        assert use["input"] == {"input": arguments}


def test_arguments_that_are_whole_stay_the_bytes_that_came() -> None:
    arguments = '{"cmd":  "a \\ud83d b", "n": 1e999}'
    call = {"type": "function_call", "call_id": "c", "name": "run", "arguments": arguments}
    body, _ = sent("responses", "chat", input=[call])
    assert body["messages"][0]["tool_calls"][0]["function"]["arguments"] == arguments


@pytest.mark.parametrize("upstream", ["chat", "messages"])
def test_what_one_agent_tells_another_reaches_the_model(upstream: str) -> None:
    def message_for(text: str) -> tuple[str, list[str]]:
        part = {"type": "encrypted_content", "encrypted_content": text}
        task = {"type": "agent_message", "author": "/root", "content": [{"type": "input_text", "text": "Payload:"}, part]}
        body, notes = sent("responses", upstream, input=[task])
        (message,) = body["messages"]
        assert message["role"] == "user"
        return json.dumps(message), notes

    assert "count the files" in message_for("count the files")[0] and not message_for("count the files")[1]
    # What a provider has sealed is no text for another one.
    sealed, notes = message_for("gAAAAAB" + "x" * 200)
    assert "gAAAA" not in sealed and any("encrypted_content left out" in note for note in notes)


def test_instructions_in_the_midst_are_no_second_system_message_for_claude_code() -> None:
    messages = [user({"type": "text", "text": "hi"}), {"role": "system", "content": "be short"}]
    body, _ = sent("messages", "chat", max_tokens=9, system="base", messages=messages)
    assert [m["role"] for m in body["messages"]] == ["system", "user", "user"]
    assert "be short" in body["messages"][2]["content"]
