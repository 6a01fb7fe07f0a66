"""Broken arguments: what is mended and what is left, against a schema, and in proper calls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shim.codex.tools import TOOLS
from shim.repair.arguments import mend
from shim.repair.checks import Refused, Toolbox
from shim.repair.codex import find
from shim.repair.fit import Misfit, fit
from shim.repair.native import CUT_OFF, NativeCalls
from shim.tools.bridge import Bridge
from shim.turn import CallDelta, CallStart, CallWhole, Event, Finish, Text
from tests.unit.repair_cases import LOOK, OFFERED, PATCH, toolbox


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1,}', {"a": 1}),
        ('{"a": [1, 2,],}', {"a": [1, 2]}),
        (
            '{"a": True, "b": None, "c": "True, None,}"}',
            {"a": True, "b": None, "c": "True, None,}"},
        ),
        ("{'a': 'it is', 'b': [None]}", {"a": "it is", "b": [None]}),
        ('{"a": "line\nline\ttab"}', {"a": "line\nline\ttab"}),
        ('Sure: {"a": 1} there', {"a": 1}),
        ('{}{"a": 1}', {"a": 1}),
        ('{"a": 1}{"a": 1}', {"a": 1}),
        ('{"a": {"b": [1, 2]}', {"a": {"b": [1, 2]}}),
        ('{"a": [1, {"b": 2}', {"a": [1, {"b": 2}]}),
        ('{"a": 1}}', {"a": 1}),
        ('{a: 1, b: "x"}', {"a": 1, "b": "x"}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
    ],
)
def test_what_is_nearly_json_is_read(text: str, value: Any) -> None:
    mended = mend(text)
    assert mended is not None and mended.value == value and mended.how and not mended.cut


@pytest.mark.parametrize(
    "text",
    ["", "words", "{", '{"a": 1} {"b": 2}', '{"a"', "[[[[", '{"a": "x" "y": "z" 5 {'],
)
def test_what_would_be_a_guess_is_left(text: str) -> None:
    mended = mend(text)
    assert mended is None or mended.completed


def test_a_text_without_an_end_is_told_from_one_with(monkeypatch: pytest.MonkeyPatch) -> None:
    mended = mend('{"cmd": "rm -rf /ho')
    assert mended is not None and mended.cut and mended.completed
    with pytest.raises(Refused, match="cut off"):
        from shim.repair.dialects.base import Cut

        toolbox().check([("exec_command", Cut({"cmd": "ls"}))])


@pytest.mark.parametrize(
    ("value", "made"),
    [
        ({"query": "a", "limit": "3"}, {"query": "a", "limit": 3}),
        ({"query": "a", "limit": 3.0}, {"query": "a", "limit": 3}),
        ({"query": "a", "deep": "True"}, {"query": "a", "deep": True}),
        ({"query": 5}, {"query": "5"}),
        ({"query": "a", "where": '["x"]'}, {"query": "a", "where": ["x"]}),
        ({"query": "5"}, {"query": "5"}),
    ],
)
def test_arguments_are_made_to_fit(value: Any, made: Any) -> None:
    assert fit(value, LOOK["parameters"]) == made


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"query": "a", "more": 1},
        {"query": ["a"]},
        {"query": "a", "limit": "three"},
        {"query": "a", "limit": 2.5},
        {"query": "a", "where": [["x"]]},
        {"query": None},
    ],
)
def test_arguments_that_do_not_fit_are_none(value: Any) -> None:
    with pytest.raises(Misfit):
        fit(value, LOOK["parameters"])


def test_forms_of_a_schema() -> None:
    schema = {
        "$defs": {"n": {"type": "integer", "minimum": 1, "maximum": 9}},
        "type": "object",
        "properties": {
            "n": {"$ref": "#/$defs/n"},
            "m": {"anyOf": [{"type": "null"}, {"type": "string", "enum": ["x", "y"]}]},
            "o": {"type": ["string", "null"]},
        },
    }
    assert fit({"n": "4", "m": "x", "o": None}, schema) == {"n": 4, "m": "x", "o": None}
    for wrong in ({"n": 0}, {"n": 10}, {"m": "z"}, {"o": [1]}, {"z": 1}):
        with pytest.raises(Misfit):
            fit(wrong, schema)
    assert fit({"z": 1}, schema, loose=True) == {"z": 1}


@pytest.mark.parametrize(
    ("name", "flat"),
    [
        ("exec_command", "exec_command"),
        ("functions.exec_command", "exec_command"),
        ("functions.exec_command:12", "exec_command"),
        ("shell", "exec_command"),
        ("bash", "exec_command"),
        ("container.exec", "exec_command"),
        ("Exec_Command", "exec_command"),
        ("applypatch", "apply_patch"),
        ("look_up", "mcp__books__look_up"),
        ("mcp__books.look_up", "mcp__books__look_up"),
        ("books/look_up", None),
        ("default_api.look_up", "mcp__books__look_up"),
        ("nothing", None),
        ("", None),
    ],
)
def test_names_that_are_nearly_right(name: str, flat: str | None) -> None:
    found = find(name, Bridge(OFFERED).offered)
    assert (found.flat if found else None) == flat


def test_a_name_that_two_tools_have_is_nobodys() -> None:
    twice = [*OFFERED, {"type": "namespace", "name": "mcp__more", "tools": [LOOK]}]
    assert find("look_up", Bridge(twice).offered) is None
    shells = [{"type": "function", "name": n} for n in ("shell_command", "local_shell")]
    assert find("bash", Bridge(shells).offered) is None


def test_a_command_line_in_another_agents_words() -> None:
    for given in ({"command": "ls"}, {"command": ["bash", "-lc", "ls"]}, {"cmd": "ls"}):
        (call,) = toolbox().check([("bash", given)])
        assert call.name == "exec_command" and json.loads(call.arguments) == {"cmd": "ls"}
    words = {"type": "function", "name": "shell", "parameters": {
        "type": "object",
        "properties": {"command": {"type": "array", "items": {"type": "string"}}},
        "required": ["command"],
    }}  # fmt: skip
    (call,) = Toolbox(Bridge([words])).check([("exec_command", {"cmd": "ls -l"})])
    assert json.loads(call.arguments) == {"command": ["bash", "-lc", "ls -l"]}


def test_half_a_patch_is_none() -> None:
    for given in (PATCH, {"input": PATCH}, {"patch": PATCH}):
        (call,) = toolbox().check([("apply_patch", given)])
        assert json.loads(call.arguments) == {"input": PATCH}
    for half in (PATCH[:-5], PATCH[5:], "words"):
        with pytest.raises(Refused, match="not whole"):
            toolbox().check([("apply_patch", {"input": half})])


def native(name: str, arguments: str, reason: str = "tool_calls") -> tuple[list[Event], list[str]]:
    notes: list[str] = []
    calls = NativeCalls(Bridge([*TOOLS, LOOK]), notes.append)
    half = len(arguments) // 2
    events: list[Event] = [CallStart(1, "c1", name), CallDelta(1, arguments[:half])]
    events += [CallDelta(1, arguments[half:]), Finish(reason)]
    out: list[Event] = []
    for event in events:
        out += calls.arguments(calls.names([event]))
    return out, notes


def whole(events: list[Event]) -> Any:
    found = [e.arguments for e in events if isinstance(e, CallWhole)]
    return json.loads(found[0]) if found else None


@pytest.mark.parametrize(
    ("name", "arguments", "made"),
    [
        ("exec_command", '{"cmd": "ls",}', {"cmd": "ls"}),
        ("exec_command", '{"cmd": "ls", "yield_time_ms": 5.0}', {"cmd": "ls", "yield_time_ms": 5}),
        ("exec_command", '"{\\"cmd\\": \\"ls\\"}"', {"cmd": "ls"}),
        ("exec_command", '{"cmd": "ls"', {"cmd": "ls"}),
        ("look_up", "{'query': 'a', 'limit': 3}", {"query": "a", "limit": 3}),
        ("bash", '{"command": "ls"}', {"cmd": "ls"}),
        ("apply_patch", json.dumps({"patch": PATCH}), {"input": PATCH}),
        ("exec_command", '{"cmd": "ls"}', None),
        ("exec_command", '{"cmd": "ls", "unknown": 1}', None),
        ("exec_command", "", None),
        ("strange", '{"a": 1,}', None),
    ],
)
def test_proper_calls(name: str, arguments: str, made: Any) -> None:
    events, notes = native(name, arguments)
    assert whole(events) == made
    if made is None:
        assert len(events) == 4 and not notes
    else:
        assert notes and isinstance(events[-1], Finish)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("exec_command", '{"cmd": "rm -rf /home/u'),
        ("exec_command", '{"cmd": "rm -rf /home/u"'),
        ("apply_patch", '{"input": "*** Begin Patch\\n*** Delete Fi'),
        ("look_up", '{"query": "a", "limit": 1'),
    ],
)
def test_what_the_token_limit_cut_off_fails_and_says_why(name: str, arguments: str) -> None:
    events, notes = native(name, arguments, "length")
    made = whole(events)
    assert list(made.values()) == [CUT_OFF] and "cut off" in notes[0]
    # And without the limit's word a text that has no end gets none.
    if arguments.endswith(("u", "Fi")):
        assert whole(native(name, arguments, "stop")[0]) is None


def test_nothing_is_done_to_text() -> None:
    calls = NativeCalls(Bridge(OFFERED), lambda note: None)
    events: list[Event] = [Text("a"), Finish("stop")]
    assert calls.arguments(calls.names(events)) is events
