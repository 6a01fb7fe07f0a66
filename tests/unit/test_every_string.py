"""Every string of a conversation is looked at, masked and refused as text is, wherever a client puts
it; what may not be changed refuses the turn and names its place."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shim.client import Facts
from shim.policy.rules import CatchRule, RedactRule
from shim.prompt.catch import Catch
from shim.prompt.edit import Editor, Editors, Outcome
from shim.prompt.mask import Masks
from shim.prompt.secrets import Finder
from shim.strings import MACHINE
from shim.wire.protocols import codec
from shim.wire.unmask import Unmask
from tests.unit.odd_requests import PLACES, SAMPLES, odd_bodies

SECRET = "CUST-123456"
FACTS = Facts(client="codex", thread="t")
FINDER = Finder([RedactRule(name="customer", pattern=r"CUST-\d{6}")])
SPOKEN = {"responses": ("input", "instructions"), "chat": ("messages",), "messages": ("messages", "system")}


def rules(text: str) -> Catch:
    return Catch(msgspec.convert(yaml.safe_load(text), list[CatchRule]))


REFUSE = rules("- {name: nope, when: {text: CUST-123456}, refuse: Not this.}")
TAG = rules("- {when: {pattern: 'CUST-\\d+'}, tag: seen}")
REPLACE = rules("- {name: r, replace: {text: CUST-123456, with: somebody}}")
DROP = rules("- {name: d, when: {text: CUST-123456}, drop: true}")
#: Fields of which a value is a picture, a file, or a state without any words.
DATA = {"data", "encrypted_content", "file_data", "image_url"}


def strings(protocol: str) -> list[tuple[Any, ...]]:
    """Where strings stand in the sample that somebody may have written."""
    places = []
    for path in PLACES[protocol]:
        value: Any = SAMPLES[protocol]
        for step in path:
            value = value[step]
        field = next(step for step in reversed(path) if isinstance(step, str))
        free = any(step in ("input", "arguments") for step in path[2:])
        machine = not free and field in MACHINE
        sealed = path[-1] == "data" or "reasoning_details" in path
        if path[0] in SPOKEN[protocol] and isinstance(value, str) and not (machine or sealed):
            places.append(path)
    return places


def planted(protocol: str, path: tuple[Any, ...], text: str = f"a {SECRET} b") -> bytes:
    request = copy.deepcopy(SAMPLES[protocol])
    value: Any = request
    for step in path[:-1]:
        value = value[step]
    whole_json = path[-1] == "arguments" and isinstance(value[path[-1]], str)
    value[path[-1]] = json.dumps({"cmd": text}) if whole_json else text
    return json.dumps(request).encode()


CASES = [(protocol, path) for protocol in SAMPLES for path in strings(protocol)]


def edited(protocol: str, body: bytes, catch: Catch, masks: Masks | None = None) -> Outcome:
    return Editors().edit(codec(protocol).read_request(body), catch, FACTS, masks)


def names(case: Any) -> str:
    return ".".join(map(str, case)) if isinstance(case, tuple) else str(case)


@pytest.mark.parametrize(("protocol", "path"), CASES, ids=names)
def test_wherever_it_stands(protocol: str, path: tuple[Any, ...]) -> None:
    body = planted(protocol, path)
    assert edited(protocol, body, REFUSE).refused == ("nope", "Not this.")
    assert edited(protocol, body, TAG).tags == {"seen"}
    masks = Masks(FINDER, b"k")
    masked = edited(protocol, body, Catch([]), masks)
    assert masked.refused or (SECRET.encode() not in masked.turn.body and masks.table)
    for catch in (REPLACE, DROP):
        out = edited(protocol, body, catch)
        if SECRET.encode() in out.turn.body and out.refused is None:
            # What a model wrote in a call is looked at only.
            assert any(step in CALLS for step in path) or _is_call(protocol, path)
        if out.refused:
            assert "may not be changed" in out.refused[1] and place(path) in out.refused[1]


#: As JSON writes it, it is another text.
ESCAPED = 'pass"w\nrd'
VALUES = Finder([RedactRule(name="value", pattern='pass"w\\nrd')])


@pytest.mark.parametrize(("protocol", "path"), CASES, ids=names)
def test_a_secret_that_json_writes_otherwise_is_masked_too(
    protocol: str, path: tuple[Any, ...]
) -> None:
    masks = Masks(VALUES, b"k")
    body = planted(protocol, path, f"a {ESCAPED} b")
    for catch in (Catch([]), TAG):
        out = edited(protocol, body, catch, masks)
        value: Any = json.loads(out.turn.body)
        for step in path:
            value = value[step]
        text = json.loads(value)["cmd"] if value[:1] == "{" else value
        assert out.refused or (ESCAPED not in text and Unmask(masks.table).whole(text) == f"a {ESCAPED} b")


CALLS = {"arguments", "input", "action", "operation", "tool_calls", "function_call"}


def _is_call(protocol: str, path: tuple[Any, ...]) -> bool:
    element = SAMPLES[protocol][path[0]][path[1]]
    return str(element.get("type")).endswith("_call")


def place(path: tuple[Any, ...]) -> str:
    return "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in path).lstrip(".")


@pytest.mark.parametrize(
    ("protocol", "element", "where"),
    [
        (
            "messages",
            {"role": "assistant", "content": [{"type": "thinking", "thinking": f"x {SECRET}", "signature": "Eq=="}]},
            "messages[1].content[0].thinking",
        ),
        (
            "messages",
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": SECRET, "input": {}}]},
            "messages[1].content[0].name",
        ),
        (
            "responses",
            {"type": "reasoning", "summary": [], "encrypted_content": f"gAAA{SECRET}".ljust(30, "A")},
            "input[1].encrypted_content",
        ),
        (
            "chat",
            {"role": "assistant", "content": "x", "reasoning_details": [{"type": "reasoning.text", "text": SECRET}]},
            "messages[1].reasoning_details[0].text",
        ),
    ],
)
def test_what_may_not_be_changed_refuses_the_turn_and_is_named(
    protocol: str, element: dict[str, Any], where: str
) -> None:
    field = "input" if protocol == "responses" else "messages"
    body = json.dumps({"model": "m", field: [{"role": "user", "content": "hi"}, element]}).encode()
    for catch, rule in ((REPLACE, "r"), (DROP, "d")):
        refused = edited(protocol, body, catch).refused
        assert refused and refused[0] == rule and refused[1].startswith(f"{where} may not be changed")


def test_a_tools_name_that_would_need_a_mask_refuses_the_turn() -> None:
    call = {"id": "c", "type": "function", "function": {"name": SECRET, "arguments": "{}"}}
    body = {"model": "m", "messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}
    out = edited("chat", json.dumps(body).encode(), Catch([]), Masks(FINDER, b"k"))
    assert out.refused and out.refused[0] == "customer"
    assert out.refused[1].startswith("messages[0].tool_calls[0].function.name may not be masked")


def test_fields_are_no_short_or_repeated_texts() -> None:
    # A rule without a text or a pattern is about texts, not about every name and setting.
    catch = rules(
        "- {when: {role: user}, strip: repeated}\n- {when: {smaller_than: 9}, refuse: Too short.}"
    )
    message = {"role": "user", "content": "a text of its own", "name": "kim"}
    other = {**message, "content": "another text"}
    body = json.dumps({"model": "m", "messages": [message, other]}).encode()
    out = edited("chat", body, catch)
    assert out.refused is None and out.turn.body == body


KEYS = {f"{SECRET}": 1, "nested": {f"x {SECRET}": {"y": [f"{SECRET}"]}}}


@pytest.mark.parametrize("protocol", SAMPLES)
def test_names_of_fields_are_strings_too(protocol: str) -> None:
    elements: dict[str, dict[str, Any]] = {
        "responses": {"type": "new_thing", "x": KEYS},
        "chat": {"role": "user", "content": [{"type": "new", "x": KEYS}]},
        "messages": {"role": "user", "content": [{"type": "new", "x": KEYS}]},
    }
    field = "input" if protocol == "responses" else "messages"
    body = json.dumps({"model": "m", field: [elements[protocol]]}).encode()
    assert edited(protocol, body, REFUSE).refused
    masked = edited(protocol, body, Catch([]), Masks(FINDER, b"k")).turn.body
    assert SECRET.encode() not in masked
    request = json.loads(masked)[field][0]
    assert list(request) == list(elements[protocol])


def test_what_a_client_says_twice_is_sent_as_it_was_looked_at() -> None:
    text = b'{"type":"input_text","text":"%b","text":"fine"}' % SECRET.encode()
    for item in (
        b'{"role":"user","content":"%b","content":"fine"}' % SECRET.encode(),
        b'{"role":"user","content":[%b]}' % text,
        b'{"type":"new","x":{"y":"%b", "y" : "fine"}}' % SECRET.encode(),
    ):
        body = b'{"model":"m","input":[%b]}' % item
        for masks, catch in ((None, REFUSE), (Masks(FINDER, b"k"), Catch([]))):
            out = edited("responses", body, catch, masks)
            assert out.refused is None and SECRET.encode() not in out.turn.body
            assert b"fine" in out.turn.body
    twice = b'{"model":"m","input":"%b","input":"fine"}' % SECRET.encode()
    assert SECRET.encode() not in codec("responses").read_request(twice).body


LOOKS = """
- {when: {role: user, pattern: '<e>[^<]*</e>'}, strip: repeated}
- {replace: {text: see, with: look}}
- {when: {role: tool, larger_than: 20}, cap: 12}
- {when: {position: 2}, tag: two}
- {when: {role: assistant, text: hm}, tag: one}
- {when: {item: search_result, text: forty}, tag: three}
- {when: {position: newest, text: g}, tag: four}
"""
PARTS = LOOKS.strip().split("\n")
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@pytest.mark.slow
@pytest.mark.parametrize("protocol", SAMPLES)
@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(data=st.data())
def test_a_first_look_decides_what_a_closer_one_does(protocol: str, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(PARTS), min_size=1, max_size=3, unique=True))
    body = data.draw(odd_bodies(protocol) | st.just(json.dumps(SAMPLES[protocol]).encode()))
    catch = rules("\n".join(chosen))
    results = []
    for closer in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            if closer:
                patch.setattr(Editor, "skip", lambda *_: False)
            try:
                out = edited(protocol, body, catch)
                results.append((out.turn.body, out.tags, out.notes, out.refused))
            except Exception as e:
                results.append((type(e), str(e)))
    assert results[0] == results[1]


@pytest.mark.parametrize("again", ["name", "input", "tools"])
@pytest.mark.parametrize("protocol", ["responses", "chat", "messages"])
def test_what_is_refused_is_refused_again(protocol: str, again: str) -> None:
    name = {"name": SECRET, "input_schema": {}, "parameters": {}}
    conversation = "input" if protocol == "responses" else "messages"
    said: dict[str, Any] = {"role": "user", "content": "hi"}
    place: dict[str, Any] = {
        "name": {"mcp": [name]},
        "input": {conversation: [{**said, "extra": name}]},
        "tools": {
            "tools": [{"type": "function", **({"function": name} if protocol == "chat" else name)}]
        },
    }[again]
    body = json.dumps({"model": "m", conversation: [said], **place}).encode()
    editors, masks, catch = Editors(), Masks(FINDER, b"key"), Catch([])
    for _ in range(3):
        turn = codec(protocol).read_request(body)  # type: ignore[arg-type]
        out = editors.edit(turn, catch, FACTS, masks)
        assert out.refused and "may not be masked" in out.refused[1]


WORDS = {"frequency_penalty": SECRET, "seed": [SECRET], "logit_bias": {SECRET: 1}, "unknown": SECRET}


@pytest.mark.parametrize("protocol", ["responses", "chat", "messages"])
@pytest.mark.parametrize("name", WORDS)
def test_words_in_the_place_of_a_number_are_looked_at(protocol: str, name: str) -> None:
    conversation = "input" if protocol == "responses" else "messages"
    said = {"role": "user", "content": "hi"}
    body = json.dumps({"model": "m", conversation: [said], name: WORDS[name], "top_p": 0.5}).encode()
    assert edited(protocol, body, REFUSE).refused
    out = edited(protocol, body, Catch([]), Masks(FINDER, b"key"))
    assert not out.refused and SECRET.encode() not in out.turn.body and b"MASKED_" in out.turn.body


@pytest.mark.parametrize("protocol", ["responses", "chat", "messages"])
def test_what_is_refused_is_refused_in_a_tool_too_and_nothing_else_is_done_there(
    protocol: str,
) -> None:
    conversation = "input" if protocol == "responses" else "messages"
    tool = {"name": "f", "description": f"about {SECRET}", "input_schema": {}, "parameters": {}}
    tools = [{"type": "function", **({"function": tool} if protocol == "chat" else tool)}]
    said = {"role": "user", "content": "hi"}
    body = json.dumps({"model": "m", conversation: [said], "tools": tools}).encode()
    assert edited(protocol, body, REFUSE).refused
    for catch in (REPLACE, DROP, TAG):
        out = edited(protocol, body, catch)
        assert not out.refused and not out.tags and SECRET.encode() in out.turn.body
