"""What nobody here knows rides along byte for byte, under every section of a policy; what cannot be
read is refused with its place."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import yaml

from shim.client import Facts
from shim.policy.rules import CatchRule, Dedup, RedactRule, ToolRule
from shim.prompt.catch import Catch
from shim.prompt.edit import Editors
from shim.prompt.mask import Masks
from shim.prompt.secrets import Finder
from shim.prompt.tools import Tools
from shim.route.choose import Route
from shim.turn import Turn, WireError
from shim.wire.protocols import Caching, codec
from shim.wire.translate import Translation

FACTS = Facts(client="codex", thread="t")
CATCH = Catch(
    msgspec.convert(
        yaml.safe_load("[{replace: {text: NEEDLE, with: thread}}, {when: {text: zz}, refuse: No.}]"),
        list[CatchRule],
    )
)
FINDER = Finder([RedactRule(name="mail", use="emails")])
FIELDS = {"responses": "input", "chat": "messages", "messages": "messages"}
#: Elements that no rule here is about, each with something odd in it.
ODD = {
    "responses": (
        b'{"type":"brand_new", "x": [1.50, 1E400, 123456789012345678901234567890], "y":"\\ud83d \\uD83D"}',
        b'{"type":"message","role":"user","content":[{"type":"new_part","n":{"a":null}}],"z" : "\\u00fc"}',
        b'{"type":"function_call","call_id":"c","name":"run","arguments":"{\\"a\\": \\"\\\\ud83d\\"}"}',
        b'{"role":"user","content":"\\udfff cut \xf4\x8f\xbf\xbf \\udbff\\udfff"}',
    ),
    "chat": (
        b'{"role":"wizard","content":[{"type":"new_part","n":1e999}],"x":"\\ud83d"}',
        b'{"role":"assistant","content":null,"new_field":{"a":[1.0]},"tool_calls":[{"id":"c","type":"new","new":{}}]}',
    ),
    "messages": (
        b'{"role":"user","content":[{"type":"search_result","source":"https://a.example","title":"A","content":[{"type":"text","text":"\\ud83d"}]}]}',
        b'{"role":"assistant","content":[{"type":"new_block","id":7,"source":[1E400],"name":{"a":"\\u2028"}}]}',
    ),
}
#: An element that every section changes.
CHANGED = b'{"role":"user","content":"NEEDLE kim@mail.example"}'
TOOLS = {
    "responses": [{"type": "function", "name": "run", "parameters": {"x": 1.5}}],
    "chat": [{"type": "function", "function": {"name": "run", "parameters": {"x": 1.5}}}],
    "messages": [{"name": "run", "input_schema": {"x": 1.5}}],
}


def body(protocol: str, *elements: bytes) -> bytes:
    tools = json.dumps(TOOLS[protocol]).encode()
    field = FIELDS[protocol].encode()
    return b'{"model":"m","new":[1e999],"tools":%b,"%b":[%b]}' % (tools, field, b",".join(elements))


def passed(turn: Turn) -> bytes:
    route = Route("up", turn.protocol, "up-m", "m", "test", "http://127.0.0.1:9/v1")  # type: ignore[arg-type]
    return Translation(turn, route, codex=False, caching=Caching("5m", "k")).request()


SECTIONS: dict[str, Any] = {
    "nothing": lambda turn: turn,
    "catch": lambda turn: Editors().edit(turn, CATCH, FACTS).turn,
    "redact": lambda turn: Editors().edit(turn, Catch([]), FACTS, Masks(FINDER, b"k")).turn,
    "dedup": lambda turn: Editors().edit(turn, Catch([]), FACTS, None, Dedup(min_bytes=1)).turn,
    "tools": lambda turn: Tools(turn, {"run": ToolRule(rename="walk")}).turn,
    "all": lambda turn: Tools(
        Editors().edit(turn, CATCH, FACTS, Masks(FINDER, b"k"), Dedup(min_bytes=1)).turn,
        {"run": ToolRule(rename="walk")},
    ).turn,
}


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("protocol", ODD)
def test_odd_elements_pass_as_they_came(protocol: str, section: str) -> None:
    for element in ODD[protocol]:
        sent = passed(SECTIONS[section](codec(protocol).read_request(body(protocol, element, CHANGED))))
        renamed = section in ("tools", "all") and b'"run"' in element
        assert (element.replace(b'"name":"run"', b'"name":"walk"') if renamed else element) in sent
        assert b'"new":[1e999]' in sent
        assert (b"NEEDLE" in sent) is (section in ("nothing", "redact", "dedup", "tools"))
        assert (b"kim@" in sent) is (section not in ("redact", "all"))


@pytest.mark.parametrize("upstream", ["responses", "chat", "messages"])
@pytest.mark.parametrize("client", ["responses", "chat", "messages"])
def test_half_a_surrogate_pair_arrives_everywhere(client: str, upstream: Any) -> None:
    text = b'{"role":"user","content":"a \\ud83d b \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf"}'
    other = b'{"role":"user","content":"\xf4\x88\x80\x80 whole"}'
    turn = codec(client).read_request(body(client, text, other).replace(b"1.5", b'"\xf4\x8f\xbf\xbf"'))
    route = Route("up", upstream, "up-m", "m", "test", "http://127.0.0.1:9/v1")
    sent = Translation(turn, route, codex=False).request()
    assert b"a \\ud83d b \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf" in sent
    # Characters of the private range by which it is read stay what they are.
    assert b"\xf4\x88\x80\x80 whole" in sent and b'"x":"\xf4\x8f\xbf\xbf"' in sent.replace(b" ", b"")
    json.loads(sent)


def test_a_rule_changes_what_stands_beside_half_a_surrogate_pair() -> None:
    text = b'{"role":"user","content":"\\uD83d NEEDLE \xf4\x8f\xbf\xbf \\udbff\\udfff"}'
    turn = codec("chat").read_request(body("chat", text))
    sent = Editors().edit(turn, CATCH, FACTS).turn.body
    assert json.loads(sent)["messages"][0]["content"] == "\ud83d thread \U0010ffff \U0010ffff"
    assert b'"\\uD83d thread' in sent


def test_a_byte_order_mark_is_no_part_of_a_request() -> None:
    turn = codec("responses").read_request(b'\xef\xbb\xbf{"input":"hi"}')
    assert turn.body == b'{"input":"hi"}' and turn.items[0].content == msgspec.Raw(b'"hi"')


@pytest.mark.parametrize(
    ("sent", "param", "text"),
    [
        (b'{"messages":[{"role":"user","content":"a\xff"}]}', "messages[0].content", "not valid UTF-8 at byte 40"),
        (b'{"messages":[{"role":"user","content":NaN}]}', "messages[0].content", "not valid JSON"),
        (b'{"messages":[{"role":"user"', "messages[0].role", "not valid JSON"),
        (b'{"messages":[{"role":"user","content":%b}]}' % (b"[" * 50000 + b"]" * 50000), "messages[0].content[0][0][0]", "nested too deeply"),
        ('{"messages":[]}'.encode("utf-16"), None, "not valid UTF-8 at byte 0"),
        (b"[]", None, "must be a JSON object"),
        (b"", None, "not valid JSON"),
        (b'{"model":"m"}', "messages", "missing"),
        (b'{"messages":[],"model":1e999}', "model", "too large"),
        (b'{"messages":[],"stream":"yes"}', "stream", "true or false"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(sent: bytes, param: str | None, text: str) -> None:
    for protocol in ("chat", "messages"):
        with pytest.raises(WireError) as e:
            codec(protocol).read_request(sent)
        assert e.value.status == 400 and e.value.param == param and text in str(e.value)


PLACES = [
    ("responses", "input", {"a": 1}, "input"),
    ("responses", "input", ["hello"], "input[0]"),
    ("responses", "input", [{"type": ["x"]}], "input[0].type"),
    ("responses", "input", [{"type": "function_call", "call_id": 3}], "input[0].call_id"),
    ("responses", "input", [{"role": "user", "content": "x"}, {"role": "user", "content": [5]}], "input[1].content[0]"),
    ("responses", "input", [{"type": "additional_tools", "tools": 5}], "input[0].tools"),
    ("chat", "messages", {"a": 1}, "messages"),
    ("chat", "messages", [{"content": "x"}], "messages[0]"),
    ("chat", "messages", [{"role": "user", "content": {"x": 1}}], "messages[0].content"),
    ("chat", "messages", [{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
    ("chat", "messages", [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "messages[0].content[0].image_url.url"),
    ("chat", "messages", [{"role": "user", "content": [{"type": "file", "file": "x"}]}], "messages[0].content[0].file"),
    ("chat", "messages", [{"role": "assistant", "tool_calls": [{"function": {"name": 3}}]}], "messages[0].tool_calls[0].function.name"),
    ("messages", "messages", "hi", "messages"),
    ("messages", "messages", [{"role": "user", "content": None}], "messages[0].content"),
    ("messages", "messages", [{"role": "user", "content": [{"type": "image", "source": "x"}]}], "messages[0].content[0].source"),
    ("messages", "messages", [{"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": 5}]}]}], "messages[0].content[0].content[0].text"),
    ("messages", "system", 5, "system"),
    ("messages", "tools", [{"name": "a"}, {"name": []}], "tools[1].name"),
    ("messages", "tool_choice", "auto", "tool_choice"),
    ("chat", "tools", [{"type": "function", "function": {"name": {}}}], "tools[0].function.name"),
    ("chat", "response_format", {"type": 4}, "response_format.type"),
    ("responses", "tools", [{"type": "namespace", "name": "n", "tools": [4]}], "tools[0].tools[0]"),
    ("responses", "reasoning", "high", "reasoning"),
    ("responses", "tool_choice", {"type": 4}, "tool_choice.type"),
    ("responses", "temperature", "warm", "temperature"),
]


@pytest.mark.parametrize(("protocol", "field", "value", "param"), PLACES)
def test_what_is_not_valid_is_refused_with_its_place(
    protocol: str, field: str, value: Any, param: str
) -> None:
    request = {"model": "m", FIELDS[protocol]: [{"role": "user", "content": "hi"}], field: value}
    upstream: Any = "chat" if protocol != "chat" else "messages"
    with pytest.raises(WireError) as e:
        turn = codec(protocol).read_request(json.dumps(request).encode())
        Translation(turn, Route("up", upstream, "m", "m", "t"), codex=False).request()
    assert e.value.status == 400 and e.value.param == param


def test_what_another_protocol_has_no_word_for_is_named_in_a_note() -> None:
    turn = codec("messages").read_request(
        json.dumps(
            {
                "model": "m",
                "max_tokens": 9,
                "container": "c1",
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]},
                    {"role": "user", "content": [{"type": "brand_new", "title": "T", "x": [{"y": "words"}]}], "seen": 1},
                ],
            }
        ).encode()
    )
    request = Translation(turn, Route("up", "chat", "m", "m", "t"), codex=False)
    sent = json.loads(request.request())
    assert sent["messages"][1]["content"] == "[brand_new; title: T]\nwords"
    for place in ("setting container", "messages[0].content[0].cache_control", "messages[1].seen"):
        assert any(note.startswith(f"{place} left out") for note in request.notes), request.notes


def test_settings_and_tools_are_looked_at_too() -> None:
    request = {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "prediction": {"type": "content", "content": "NEEDLE kim@mail.example"},
        "tools": [{"type": "function", "function": {"name": "run", "description": "of kim@mail.example"}}],
    }
    turn = codec("chat").read_request(json.dumps(request).encode())
    out = Editors().edit(turn, CATCH, FACTS, Masks(FINDER, b"k"))
    sent = json.loads(out.turn.body)
    assert sent["prediction"]["content"].startswith("thread MASKED_MAIL_")
    assert sent["tools"][0]["function"]["description"].startswith("of MASKED_MAIL_")
    refused = request | {"zz_new": {"text": "zz"}}
    out = Editors().edit(codec("chat").read_request(json.dumps(refused).encode()), CATCH, FACTS)
    assert out.refused and out.refused[1] == "No."


def test_a_renamed_tool_has_its_new_name_in_every_form_of_a_call() -> None:
    calls = {
        "role": "assistant",
        "content": "run it",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "run", "arguments": "{}"}}],
        "function_call": {"name": "run", "arguments": "{}"},
    }
    turn = codec("chat").read_request(body("chat", json.dumps(calls).encode(), CHANGED))
    request = json.loads(Tools(turn, {"run": ToolRule(rename="walk")}).turn.body)["messages"][0]
    assert request["function_call"]["name"] == "walk" and request["content"] == "run it"
    assert request["tool_calls"][0]["function"]["name"] == "walk"
