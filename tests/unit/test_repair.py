"""Repair in the pipeline of an answer: the items a client gets, streams that are left alone, bounds,
the policy's switches, the command, the page."""

from __future__ import annotations

import io
import itertools
import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.cli import main
from shim.policy.load import PolicyError, parse_policy
from shim.repair.dialects import DIALECTS
from shim.repair.native import CUT_OFF
from shim.repair.scan import MOST, Missed
from shim.repair.stream import Rules
from shim.repair.turn import rules_for
from shim.route.choose import Route
from shim.turn import CallStart, Finish, Reasoning, Text
from shim.wire.protocols import codec
from shim.wire.translate import Translation
from tests.unit.fixtures import DONE, QUIRKS, chunk
from tests.unit.repair_cases import ALL, KINDS, OFFERED, PATCHES, kinds_of, run, story, text_calls
from tests.unit.repair_page import PAGE, page

pytestmark = pytest.mark.slow

RULES = Rules(ALL)
CALL = '<tool_call>{"name": "exec_command", "arguments": {"cmd": "ls"}}</tool_call>'


def translation(rules: Rules | None, client: str = "responses", stream: bool = True) -> Translation:
    if client == "responses":
        body: dict[str, Any] = {"model": "m", "input": "hi", "tools": OFFERED}
    else:
        tool = {"name": "exec_command", "parameters": KIND_SCHEMA, "input_schema": KIND_SCHEMA}
        tools = [{"type": "function", "function": tool}] if client == "chat" else [tool]
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": tools}
        body["max_tokens"] = 9
    turn = codec(client).read_request(msgspec.json.encode({**body, "stream": stream}))  # type: ignore[arg-type]
    upstream = "messages" if client == "chat" else "chat"
    return Translation(turn, Route("up", upstream, "m", "m", "t"), codex=False, repair=rules)  # type: ignore[arg-type]


KIND_SCHEMA = {"type": "object", "properties": {"cmd": {"type": "string"}}, "required": ["cmd"]}


def items(rules: Rules | None, deltas: list[dict[str, Any]], finish: str = "stop") -> list[Any]:
    """The finished items that Codex gets, streamed, and whether the unstreamed answer has them too."""
    made = translation(rules)
    translator = made.translator()
    data = b"".join(map(chunk, deltas)) + chunk({}, finish) + DONE
    out = b"".join(translator.feed(data[at : at + 40]) for at in range(0, len(data), 40))
    out += translator.close()
    events = [json.loads(line[6:]) for line in out.splitlines() if line.startswith(b"data: {")]
    return [e["item"] for e in events if e["type"] == "response.output_item.done"]


@pytest.mark.parametrize("name", ALL)
def test_the_client_gets_the_item_its_tool_has(name: str) -> None:
    for kind, tool in kinds_of(DIALECTS[name]).items():
        text = DIALECTS[name].write(tool.name, tool.arguments)
        for field in ("content", "reasoning_content"):
            got = [i for i in items(RULES, [{field: text}]) if "call" in i["type"]]
            assert len(got) == 1, (name, kind, field)
            (item,) = got
            if kind == "custom":
                assert item["type"] == "custom_tool_call" and item["name"] == "apply_patch"
                assert item["input"] == tool.arguments["input"]
            else:
                assert item["type"] == "function_call"
                assert json.loads(item["arguments"]) == tool.arguments
                assert item.get("namespace") == ("mcp__books" if kind == "namespaced" else None)
                assert item["name"] == tool.name.removeprefix("mcp__books__")


def test_unstreamed_answers_are_repaired_by_the_same_code() -> None:
    made = translation(RULES, stream=False)
    translator = made.translator()
    message = {"role": "assistant", "content": f"I look.\n{CALL}\n{CALL}"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "c", "object": "chat.completion", "created": 1, "choices": [choice]}
    whole = json.loads(translator.whole(msgspec.json.encode(body)) or b"")
    assert [i["type"] for i in whole["output"]] == ["message", "function_call", "function_call"]
    assert len(translator.repaired) == 2 and "hermes" in translator.repaired[0]


def test_a_proper_calls_arguments_are_mended_in_its_finished_item() -> None:
    def tool_call(name: str, arguments: str) -> list[dict[str, Any]]:
        function = {"name": name, "arguments": arguments}
        return [{"tool_calls": [{"index": 0, "id": "c1", "function": function}]}]

    (item,) = items(RULES, tool_call("bash", "{'command': 'ls',}"), "tool_calls")
    assert item["name"] == "exec_command" and json.loads(item["arguments"]) == {"cmd": "ls"}
    (item,) = items(RULES, tool_call("exec_command", '{"cmd": "rm -rf /ho'), "length")
    assert json.loads(item["arguments"]) == {"cut_off": CUT_OFF}
    (item,) = items(RULES, tool_call("apply_patch", '{"input": "*** Begin Pa'), "length")
    assert item["type"] == "custom_tool_call" and item["input"] == CUT_OFF
    whole = '{"cmd": "ls", "zzz": [1.0]}'
    (item,) = items(RULES, tool_call("exec_command", whole), "length")
    assert item["arguments"] == whole


@pytest.mark.parametrize("name", QUIRKS)
def test_streams_with_only_proper_calls_are_the_same_with_and_without_repair(name: str) -> None:
    data, _, calls = QUIRKS[name]
    ways = []
    for rules in (None, RULES):
        translator = translation(rules).translator()
        out = b"".join(translator.feed(data[i : i + 1]) for i in range(len(data)))
        ways.append(out + translator.close())
        # Broken arguments are mended: then they differ, and that is told.
        mended = bool(calls and translator.repaired)
    assert (ways[0] == ways[1]) is not mended


def test_what_is_held_is_bounded_and_text_flows_on() -> None:
    made = text_calls()
    assert made.filter([Text("Some words and")]) == [Text("Some words and")]
    assert made.filter([Text(" more <")]) == [Text(" more ")]
    assert made.filter([Text("b>")]) == [Text("<b>")]
    made = text_calls()
    out = made.filter([Text("<tool_call>")])
    for _ in range(MOST // 1024 + 2):
        out += made.filter([Text("x" * 1024)])
    assert sum(len(e.text) for e in out if isinstance(e, Text)) > MOST


@pytest.mark.parametrize("name", ALL)
def test_at_most_the_longest_opening_is_held_before_one(name: str) -> None:
    longest = max(len(o) for d in DIALECTS.values() for o in d.openings)
    text = "Words, and\nmore of them: a < b [1] {2} *** `c`\n" * 3
    said = 0
    made = text_calls()
    for at, letter in enumerate(text):
        said += sum(len(e.text) for e in made.filter([Text(letter)]) if isinstance(e, Text))
        assert at + 1 - said <= longest


def test_a_call_that_thinks_on_is_a_thought() -> None:
    made = text_calls()
    out = [*made.filter([Reasoning(f"Maybe\n{CALL}\n")]), *made.filter([Text("It is done.")])]
    out += made.filter([Finish("stop")])
    assert story(out) == (f"Maybe\n{CALL}\nIt is done.", [])
    thought = run([f"Maybe\n{CALL}\nor not."], kind=Reasoning)
    assert story(thought) == (f"Maybe\n{CALL}\nor not.", [])


def test_why_it_is_none_is_told() -> None:
    missed: list[Missed] = []
    run([CALL.replace("exec_command", "nope")], missed=missed)
    assert [m.why for m in missed] == ["no tool nope is offered"]


POLICY = """
providers: {{up: {{base_url: "http://127.0.0.1:9/v1"}}}}
models: {{m: {{provider: up}}, n: {{provider: up}}}}
default: m
{}
"""


def test_the_policy_says_where_and_how() -> None:
    def rules(text: str, model: str = "m") -> Rules | None:
        repair = parse_policy(POLICY.format(text)).repair
        return rules_for(repair, Route("up", "chat", model, model, "t", name=model))

    assert rules("") is None
    on = rules("repair: {}")
    assert on == Rules(ALL, "normal") and not on.always
    assert rules("repair: {providers: {up: false}}") is None
    assert rules("repair: {models: {n: false}}", "n") is None
    assert rules("repair: {models: {n: false}}") is not None
    both = rules("repair: {strictness: strict, models: {m: loose}, providers: {up: false}}")
    assert both and both.strictness == "loose" and both.always
    less = rules("repair: {dialects: {hermes: false, react: false}, arguments: false}")
    assert less and not {"hermes", "react"} & set(less.dialects) and not less.arguments
    for wrong in ("dialects: {hermse: false}", "providers: {upp: false}", "models: {q: true}"):
        with pytest.raises(PolicyError, match=r"did you mean|no model"):
            parse_policy(POLICY.format(f"repair: {{{wrong}}}"))


def test_a_dialect_that_is_off_is_text() -> None:
    names = tuple(n for n in ALL if n not in ("hermes", "ernie45"))
    got = items(Rules(names), [{"content": CALL}])
    assert [i["type"] for i in got] == ["message"]


@pytest.mark.parametrize("client", ["chat", "messages"])
def test_other_clients_get_calls_too(client: str) -> None:
    made = translation(RULES, client)
    translator = made.translator()
    if client == "messages":
        data = b"".join(chunk({"content": c}) for c in CALL) + chunk({}, "stop") + DONE
    else:
        start = {"type": "message_start", "message": {"id": "x", "usage": {}}}
        block = {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        }
        deltas = [
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": c}}
            for c in CALL
        ]
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}
        events = [start, block, *deltas, {"type": "content_block_stop", "index": 0}, end]
        events.append({"type": "message_stop"})
        data = b"".join(
            b"event: %b\ndata: %b\n\n" % (str(e["type"]).encode(), msgspec.json.encode(e))
            for e in events
        )
    out = translator.feed(data) + translator.close()
    assert b"<tool_call" not in out and b"exec_command" in out
    assert (b'"tool_use"' if client == "messages" else b'"tool_calls"') in out


def test_the_command_says_what_it_finds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"I look.\n{CALL}"))
    assert main(["repair", "-"]) == 0
    assert "exec_command" in capsys.readouterr().out
    file = tmp_path / "a.txt"
    file.write_text(CALL.replace("exec_command", "mine"))
    assert main(["repair", str(file), "--json"]) == 1
    assert "no tool mine" in json.loads(capsys.readouterr().out)["none"][0]["why"]
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps({"tools": [{"name": "mine", "input_schema": KIND_SCHEMA}]}))
    assert main(["repair", str(file), "--json", "--tools", str(tools)]) == 0
    assert json.loads(capsys.readouterr().out)["calls"][0]["name"] == "mine"
    tools.write_text("no")
    assert main(["repair", str(file), "--tools", str(tools)]) == 1
    assert "no JSON" in capsys.readouterr().err
    file.write_text("Plain words.")
    assert main(["repair", str(file)]) == 1
    assert "nothing here" in capsys.readouterr().out


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page()


SCRAPS = [
    *(d.write(t.name, t.arguments) for n, d in DIALECTS.items() for t in kinds_of(d).values()),
    *(o for d in DIALECTS.values() for o in d.openings),
    *(c for d in DIALECTS.values() for c in d.closes),
    *["\n", " ", "```", "```json\n", "`", "words. ", "{", "}", "[", "]", '"', "\\", "<", ">", "\0"],
]
SOUP = st.lists(st.sampled_from(SCRAPS) | st.text(max_size=8), max_size=12).map("".join)


@settings(deadline=None)
@given(
    SOUP, st.lists(st.integers(0, 2000), max_size=8), st.sampled_from(["strict", "normal", "loose"])
)
def test_whatever_comes_nothing_breaks_hangs_or_grows(
    text: str, at: list[int], strictness: str
) -> None:
    places = sorted({0, len(text), *(n % (len(text) + 1) for n in at)})
    begun = time.process_time()
    whole = story(run([text], strictness=strictness))
    parts = story(run([text[a:b] for a, b in itertools.pairwise(places)], strictness=strictness))
    letters = story(run(list(text), strictness=strictness))
    assert time.process_time() - begun < 10
    assert parts[1] == whole[1] == letters[1]
    assert len(whole[0]) <= len(text)
    if not whole[1]:
        assert whole[0] == parts[0] == letters[0] == text


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>" * 20_000,
        "\n<tool_call>" * 20_000,
        '<tool_call>{"name": "a", "arguments": "' + "</tool_call>" * 10_000,
        "\n{" * 50_000,
        "\n[" * 50_000,
        "\n```json\n" * 20_000,
        "<function=a><parameter=b>" + "</parameter>" * 10_000 + "</function>",
        "<" * 200_000,
        '<tool_call>{"a": ' + "[" * 100_000 + "</tool_call>",
        '<invoke name="a">' * 5_000 + "</invoke>",
        "*** Begin Patch\n" * 10_000,
        "Action: a\nAction Input: " + "{" * 50_000,
    ],
    ids=range(12),
)
def test_what_is_made_to_be_slow_is_not(text: str) -> None:
    begun = time.process_time()
    assert story(run([text[at : at + 50] for at in range(0, len(text), 50)]))[0] == text
    assert time.process_time() - begun < 5


def test_patches_are_the_only_ones_that_cannot_say_everything() -> None:
    assert {n for n, d in DIALECTS.items() if len(kinds_of(d)) < len(KINDS)} == set(PATCHES)
    assert [e for e in run([CALL]) if isinstance(e, CallStart)]


@pytest.mark.parametrize("names", [["n" * 3000], ["n" * size for size in range(1, 300)]])
def test_long_names_of_tools_are_no_tags(names: list[str]) -> None:
    tools = [{"type": "function", "name": name, "parameters": {}} for name in names]
    body = json.dumps({"model": "m", "input": "hi", "tools": tools}).encode()
    turn = codec("responses").read_request(body)
    made = Translation(turn, Route("up", "chat", "m", "m", "t"), codex=False, repair=RULES)
    translator = made.translator()
    out = translator.feed(chunk({"content": CALL.replace("exec_command", names[0])}))
    out += translator.feed(chunk({}, "stop") + DONE) + translator.close()
    assert names[0].encode() in out and b"function_call" in out
