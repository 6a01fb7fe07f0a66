"""Catch rules: what they do to a prompt in each protocol, and that they never revise what was sent."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shim.client import Facts
from shim.policy.rules import CatchRule
from shim.prompt.catch import Catch
from shim.prompt.edit import Editor, Editors, Outcome
from shim.turn import Turn
from shim.wire.protocols import codec

NOBODY = Facts(client="codex", project="/work/shop", thread="t1")


def compiled(rules: str) -> Catch:
    return Catch(msgspec.convert(yaml.safe_load(rules), list[CatchRule]))


def responses(*items: dict[str, Any] | str, **fields: Any) -> Turn:
    made = [{"role": "user", "content": i} if isinstance(i, str) else i for i in items]
    return codec("responses").read_request(
        json.dumps({"model": "m", "input": made, **fields}).encode()
    )


def chat(*messages: dict[str, Any], **fields: Any) -> Turn:
    body = {"model": "m", "messages": list(messages), **fields}
    return codec("chat").read_request(json.dumps(body).encode())


def anthropic(*messages: dict[str, Any], **fields: Any) -> Turn:
    body = {"model": "m", "max_tokens": 9, "messages": list(messages), **fields}
    return codec("messages").read_request(json.dumps(body).encode())


def caught(rules: str, turn: Turn, facts: Facts = NOBODY) -> Outcome:
    return Editors().edit(turn, compiled(rules), facts)


def sent(outcome: Outcome) -> Any:
    body = json.loads(outcome.turn.body)
    return body.get("input") or body["messages"]


def call(n: int, output: Any, name: str = "exec_command") -> list[dict[str, Any]]:
    id = f"call_{n}"
    return [
        {"type": "function_call", "call_id": id, "name": name, "arguments": "{}"},
        {"type": "function_call_output", "call_id": id, "output": output},
    ]


def test_what_no_rule_touches_stays_the_bytes_that_came() -> None:
    turn = responses("hello", {"type": "new_thing", "x": 1.50})
    out = caught("- {when: {text: nowhere}, drop: true}", turn)
    assert out.turn is turn and not out.notes


def test_a_rule_with_several_conditions_holds_where_all_do() -> None:
    rule = "- {when: {role: tool, tool: 'exec*', text: secret, larger_than: 10}, drop: true}"
    items = [
        *call(1, "a secret in a long output"),
        *call(2, "secret"),
        *call(3, "a secret in a long output", "other"),
        *call(4, "nothing to see in this long one"),
    ]
    out = sent(caught(rule, responses("a secret of the user", *items)))
    said = [i["output"] for i in out if "output" in i]
    assert said == ["[left out by the policy]", "secret", *(i["output"] for i in items[5::2])]
    assert out[0]["content"] == "a secret of the user"


def test_replace_by_text_and_by_pattern() -> None:
    rules = """
- {replace: {text: foo, with: bar}}
- {when: {role: user}, replace: {pattern: '(\\d+) EUR', with: '\\1 euros'}}
"""
    turn = chat(
        {"role": "system", "content": "foo 3 EUR"},
        {"role": "user", "content": [{"type": "text", "text": "foo 3 EUR", "extra": 1}]},
    )
    out = sent(caught(rules, turn))
    assert out[0]["content"] == "bar 3 EUR"
    assert out[1]["content"] == [{"type": "text", "text": "bar 3 euros", "extra": 1}]


def test_what_the_model_wrote_in_a_call_is_only_looked_at() -> None:
    turn = responses(*call(1, "x"))
    out = caught("- {when: {text: '{}'}, drop: true}\n- {when: {text: '{}'}, tag: seen}", turn)
    assert out.turn is turn and out.tags == {"seen"}


def test_drop_takes_a_part_or_the_whole_message() -> None:
    parts = [{"type": "input_text", "text": "<skills>"}, {"type": "input_text", "text": "b"}]
    turn = responses({"role": "developer", "content": parts}, "<skills>", "hi")
    out = sent(caught("- {when: {text: <skills>}, drop: true}", turn))
    assert out == [
        {"role": "developer", "content": parts[1:]},
        {"role": "user", "content": "hi"},
    ]


def test_cap_keeps_both_ends_by_whole_lines_and_says_what_it_left_out() -> None:
    text = "".join(f"line {n:04}\n" for n in range(1000))
    out = sent(caught("- {name: short, cap: 1000}", responses(*call(1, text))))
    said = out[1]["output"]
    assert said.startswith("line 0000\n") and said.endswith("line 0999\n")
    assert len(said) < 1100 and "bytes left out here by the rule short]" in said
    left = int(said.partition("[")[2].partition(" ")[0])
    head, _, tail = said.partition("\n[")
    assert len(text) - left == len(head) + 1 + len(tail.partition("\n")[2])


def test_repeats_go_and_the_first_stays() -> None:
    env = "<env>\ncwd\n</env>"
    rule = "- {when: {role: user, pattern: '(?s)<env>.*?</env>'}, strip: repeated}"
    out = sent(caught(rule, responses(f"{env} one", env, f"two {env}", "<env>other</env>")))
    assert [i["content"] for i in out] == [f"{env} one", "two ", "<env>other</env>"]


def test_a_refusal_names_the_rule_and_the_message() -> None:
    rule = "- {name: prod, when: {pattern: '(?i)prod(uction)? db'}, refuse: Not this one.}"
    assert caught(rule, responses("drop the Production DB")).refused == ("prod", "Not this one.")
    assert caught(rule, responses("drop the test db")).refused is None


def test_newest_is_the_newest_user_message() -> None:
    rule = "- {when: {role: user, position: newest, text: '#hard'}, tag: hard}"
    assert caught(rule, responses("#hard", *call(1, "x"))).tags == {"hard"}
    assert caught(rule, responses("#hard", *call(1, "x"), "next")).tags == set()


def test_a_rule_for_one_client_or_project_leaves_others_alone() -> None:
    for when, holds in (
        ("client: codex", True),
        ("client: [aider, opencode]", False),
        ("project: '*/shop'", True),
        ("project: '*/other'", False),
    ):
        out = caught(f"- {{when: {{{when}}}, inject: {{text: Pinned.}}}}", responses("hi"))
        assert ("Pinned." in json.dumps(sent(out))) is holds


def test_inject_stands_where_it_should_in_each_protocol() -> None:
    rules = """
- {inject: {text: FIRST}}
- {inject: {text: AFTER, at: after_instructions}}
- {inject: {text: MINE, role: user, at: after_instructions}}
"""
    developer = {"role": "developer", "content": "base"}
    out = sent(caught(rules, responses(developer, "hi")))
    texts = [
        i["content"] if isinstance(i["content"], str) else i["content"][0]["text"] for i in out
    ]
    assert texts == ["FIRST", "base", "AFTER", "MINE", "hi"]
    assert [i["role"] for i in out] == ["developer"] * 3 + ["user"] * 2
    system = {"role": "system", "content": "base"}
    out = sent(caught(rules, chat(system, {"role": "user", "content": "hi"})))
    assert [m["content"] for m in out] == ["FIRST", "base", "AFTER", "MINE", "hi"]
    for given_system in ("base", [{"type": "text", "text": "base"}], None):
        fields = {} if given_system is None else {"system": given_system}
        done = caught(rules, anthropic({"role": "user", "content": "hi"}, **fields))
        body = json.loads(done.turn.body)
        wanted = ["FIRST", *(["base"] if fields else []), "AFTER"]
        assert [b["text"] for b in body["system"]] == wanted
        assert body["messages"][0]["content"][0]["text"] == "MINE"


def test_tool_results_of_messages_are_pieces_like_any_output() -> None:
    use = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "a secret", "is_error": False}
    turn = anthropic(
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result, {"type": "text", "text": "secret"}]},
    )
    out = sent(
        caught("- {when: {tool: Bash, text: secret}, replace: {text: secret, with: s}}", turn)
    )
    assert out[1]["content"] == [{**result, "content": "a s"}, {"type": "text", "text": "secret"}]
    assert out[0]["content"] == [use]


RULES = """
- {when: {role: developer, text: skip}, drop: true}
- {when: {role: user, pattern: '<e>[^<]*</e>'}, strip: repeated}
- {replace: {text: foo, with: barbar}}
- {when: {role: tool, larger_than: 20}, cap: 12}
- {when: {position: 2}, replace: {text: a, with: A}}
- {inject: {text: pinned}}
- {inject: {text: after, at: after_instructions, role: user}}
- {when: {text: tagged}, tag: one}
"""
WORDS = st.lists(
    st.sampled_from(["foo", "skip", "<e>x</e>", "<e>y</e>", "a", "tagged", "\n", "ü\u2028"]),
    max_size=8,
).map(" ".join)
ITEMS = st.one_of(
    st.builds(
        lambda r, t: [{"role": r, "content": t}], st.sampled_from(["user", "developer"]), WORDS
    ),
    st.builds(lambda t: call(1, t), WORDS),
    st.builds(lambda t: call(2, [{"type": "input_text", "text": t}]), WORDS),
    st.just([{"type": "unknown", "x": 1}]),
)


@given(st.lists(ITEMS, min_size=1, max_size=8), st.integers(1, 8))
def test_edits_are_causal_and_a_kept_editor_makes_what_a_fresh_one_makes(
    groups: list[list[dict[str, Any]]], cut: int
) -> None:
    catch = compiled(RULES)
    whole = [item for group in groups for item in group]
    part = [item for group in groups[:cut] for item in group]
    kept = Editors()
    early = kept.edit(responses(*part), catch, NOBODY)
    late = kept.edit(responses(*whole), catch, NOBODY)
    fresh = Editors().edit(responses(*whole), catch, NOBODY)
    assert late.turn.body == fresh.turn.body
    assert (late.tags, late.notes, late.refused) == (fresh.tags, fresh.notes, fresh.refused)
    assert sent(late)[: len(sent(early))] == sent(early)


FEW = """
- {when: {role: user, pattern: '<e>[^<]*</e>'}, strip: repeated}
- {replace: {text: foo, with: barbar}}
- {when: {role: tool, tool: exec_command, larger_than: 20}, cap: 12}
- {when: {position: 2}, replace: {text: a, with: A}}
- {when: {text: tagged}, tag: one}
- {when: {position: newest, text: tagged}, tag: two}
"""


@given(st.lists(ITEMS, min_size=1, max_size=6), st.lists(ITEMS, max_size=3))
def test_a_first_glance_changes_nothing_about_what_is_made(
    early: list[list[dict[str, Any]]], late: list[list[dict[str, Any]]]
) -> None:
    catch = compiled(FEW)
    first = responses(*(item for group in early for item in group))
    both = responses(*(item for group in early + late for item in group))
    kept, slow = Editors(), Editors()
    quick = [kept.edit(first, catch, NOBODY), kept.edit(both, catch, NOBODY)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Editor, "skip", lambda *_: False)
        looked = [slow.edit(first, catch, NOBODY), slow.edit(both, catch, NOBODY)]
    for one, other in zip(quick, looked, strict=True):
        assert sent(one) == sent(other)
        assert (one.tags, one.notes, one.refused) == (other.tags, other.notes, other.refused)


def test_a_prompt_that_was_rewritten_is_edited_afresh() -> None:
    catch = compiled("- {when: {role: user}, strip: repeated}")
    editors = Editors()
    assert len(sent(editors.edit(responses("a", "b", "a"), catch, NOBODY))) == 2
    assert len(sent(editors.edit(responses("a", "c"), catch, NOBODY))) == 2
    assert len(sent(editors.edit(responses("a", "c", "a"), catch, NOBODY))) == 2


def test_another_conversation_of_the_same_length_is_no_continuation() -> None:
    catch = compiled("- {replace: {text: x, with: y}}")
    editors = Editors()
    for texts, said in ((("ax", "bx"), "ay"), (("cx", "bx", "dx"), "cy")):
        out = sent(editors.edit(responses(*texts), catch, NOBODY))
        assert out[0]["content"] == said and len(out) == len(texts)
    head = {"instructions": "one x"}
    assert b"one y" in editors.edit(responses("ax", **head), catch, NOBODY).turn.body
    head = {"instructions": "two x"}
    assert b"two y" in editors.edit(responses("ax", "bx", **head), catch, NOBODY).turn.body


def test_what_is_kept_is_bounded() -> None:
    catch = compiled("- {replace: {text: a, with: b}}")
    editors = Editors(most=1000)
    for n in range(50):
        editors.edit(responses("a" * 100), catch, Facts(thread=str(n)))
    assert editors._bytes <= 1000 and 0 < len(editors._kept) < 10


@pytest.mark.parametrize("content", [None, 5, [], [None, 3, {"type": "x"}], {"a": 1}])
def test_odd_contents_are_no_piece_and_no_error(content: Any) -> None:
    items: list[dict[str, Any]] = [{"role": "user", "content": content}, *call(1, content)]
    turn = responses(*items, "foo")
    assert sent(caught("- {replace: {text: foo, with: x}}", turn))[-1]["content"] == "x"


@pytest.mark.parametrize("protocol", ["responses", "chat", "messages"])
def test_a_text_that_was_refused_does_not_leave_in_a_later_history(protocol: str) -> None:
    catch = compiled("- {when: {position: newest, text: launch code}, refuse: not that}")
    talk = [("user", "the launch code is 7"), ("assistant", "launch code?"), ("user", "and now?")]
    for count in (1, 2, 3):
        said = [{"role": role, "content": text} for role, text in talk[:count]]
        name = "input" if protocol == "responses" else "messages"
        body = {"model": "m", name: said, "max_tokens": 9}
        turn = codec(protocol).read_request(msgspec.json.encode(body))
        # A fresh editor, as after a restart.
        assert Editors().edit(turn, catch, Facts()).refused
    quoted = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "launch code"}]
    body = {"model": "m", name: quoted, "max_tokens": 9}
    turn = codec(protocol).read_request(msgspec.json.encode(body))
    assert not Editors().edit(turn, catch, Facts()).refused
