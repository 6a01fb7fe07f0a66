"""Dedup: what is sent leads back to what was said, exactly; and only to what was sent before."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.client import Facts
from shim.policy.rules import CatchRule, Dedup
from shim.prompt.catch import Catch
from shim.prompt.dedup import fits_tool
from shim.prompt.edit import Editors
from shim.prompt.elements import Element, Piece, read_prompt
from shim.prompt.references import expand
from shim.turn import Turn
from shim.wire.protocols import codec

NOTHING = Catch([])
THREAD = Facts(client="codex", thread="t1")
RULES = Dedup()
#: Lines that meet again and again, some of which look like what dedup writes.
LINES = [
    "",
    "}",
    "    return value",
    "def total(prices: list[float]) -> float:",
    "    # A comment that is long enough to make a run pay, were it to stand there twice.",
    '    "a line with \\"quotes\\", a tab\\t and an é"',
    "+    an added line, as it stands in a patch that the model wrote some turns ago",
    "[^same as lines 1-3 of output 1: def total]",
    "\\[^same as lines 1-3 of call 1, without the +: x]",
    "\\\\[^same as lines 2-2 of message 1: ",
    "carriage return\r",
    "*** Begin Patch",
]


def numbered(first: int, last: int) -> str:
    return "\n".join(f"line {n} of a file that is read more than once" for n in range(first, last))


def output(n: int, text: Any, given: str = "{}") -> list[dict[str, Any]]:
    call = {"type": "function_call", "call_id": f"c{n}", "name": "exec_command", "arguments": given}
    return [call, {"type": "function_call_output", "call_id": f"c{n}", "output": text}]


def turn_of(items: list[dict[str, Any]], protocol: str = "responses") -> Turn:
    name = "input" if protocol == "responses" else "messages"
    body = {"model": "m", "max_tokens": 9, name: items}
    return codec(protocol).read_request(json.dumps(body, ensure_ascii=False).encode())


def sent(items: list[dict[str, Any]], rules: Dedup = RULES, catch: Catch = NOTHING) -> list[Any]:
    done = Editors().edit(turn_of(items), catch, THREAD, None, rules)
    return json.loads(done.turn.body)["input"]


def pieces(turn: Turn) -> list[Piece]:
    prompt = read_prompt(turn)
    assert prompt
    tools: dict[str, str] = {}
    found = []
    for raw in prompt.elements:
        found += Element(turn.protocol, raw, tools, head=False).pieces
    return found


def back(turn: Turn, rules: Dedup) -> list[str]:
    """The texts that ``turn`` stands for."""
    found = pieces(turn)
    shortened = [p.role in rules.roles and fits_tool(rules.tools, p) for p in found]
    return expand(zip(found, shortened, strict=True))


def test_a_file_that_is_read_again_is_sent_once() -> None:
    items = output(1, numbered(1, 200)) + output(2, f"Wall time: 1\n{numbered(50, 120)}\nend")
    made = sent(items)
    assert made[1]["output"] == numbered(1, 200)
    anchor = "line 50 of a file that is read …"
    assert made[3]["output"] == f"Wall time: 1\n[^same as lines 50-119 of output 1: {anchor}]\nend"


def test_lines_count_as_they_were_sent() -> None:
    items = output(1, numbered(1, 50)) + output(2, numbered(20, 50) + "\n" + numbered(100, 150))
    made = sent(items + output(3, numbered(120, 140)))
    assert made[5]["output"].startswith("[^same as lines 22-41 of output 2: ")


def test_a_reference_leads_to_text_never_to_a_reference() -> None:
    made = sent(
        [*output(1, numbered(1, 50)), *output(2, numbered(1, 50)), *output(3, numbered(1, 50))]
    )
    assert (
        made[5]["output"]
        == made[3]["output"]
        == ("[^same as lines 1-49 of output 1: line 1 of a file that is read m…]")
    )


def test_a_scattered_earlier_copy_does_not_hide_a_whole_one() -> None:
    lines = numbered(1, 40).split("\n")
    odd = "\n".join(f"{line}\n-- between --" for line in lines)
    made = sent([*output(1, odd), *output(2, "\n".join(lines)), *output(3, "\n".join(lines))])
    assert made[5]["output"].startswith("[^same as lines 1-39 of output 2: ")


def test_what_the_model_wrote_itself_is_known() -> None:
    written = json.dumps({"cmd": f"cat > a.py <<'EOF'\n{numbered(1, 30)}\nEOF"})
    made = sent(output(1, "", written) + output(2, numbered(1, 30)))
    assert made[3]["output"].startswith("[^same as lines 2-30 of call 1 cmd: ")
    assert made[0]["arguments"] == written


def test_lines_of_a_patch_are_known_without_their_sign() -> None:
    added = "".join(f"+{line}\n" for line in numbered(1, 30).split("\n"))
    patch = f"*** Begin Patch\n*** Add File: a.py\n{added}*** End Patch\n"
    call = {"type": "custom_tool_call", "call_id": "p", "name": "apply_patch", "input": patch}
    done = {"type": "custom_tool_call_output", "call_id": "p", "output": "Done!"}
    made = sent([call, done, *output(1, numbered(5, 30))])
    assert made[3]["output"].startswith("[^same as lines 7-31 of call 1, without the +: ")


def test_what_a_patch_takes_away_is_not_what_stands_there() -> None:
    taken = "".join(f"-{line}\n" for line in numbered(1, 30).split("\n"))
    patch = f"*** Begin Patch\n*** Update File: a.py\n@@\n{taken}*** End Patch\n"
    call = {"type": "custom_tool_call", "call_id": "p", "name": "apply_patch", "input": patch}
    assert sent([call, *output(1, numbered(5, 30))])[2]["output"] == numbered(5, 30)


def test_what_older_codex_wraps_in_json_is_looked_into() -> None:
    def wrapped(text: str) -> str:
        return json.dumps({"output": text, "metadata": {"exit_code": 0}}, separators=(",", ":"))

    made = sent(output(1, wrapped(numbered(1, 50))) + output(2, wrapped("x\n" + numbered(9, 50))))
    inner = json.loads(made[3]["output"])
    assert inner["output"].startswith("x\n[^same as lines 9-49 of output 1: ")
    assert inner["metadata"] == {"exit_code": 0}


def test_instructions_that_come_again_after_a_resume() -> None:
    told = {"type": "message", "role": "user", "content": [
        {"type": "input_text", "text": "# AGENTS.md\n" + numbered(1, 20)},
        {"type": "input_text", "text": "<environment_context>\n" + numbered(30, 40)},
    ]}  # fmt: skip
    made = sent([told, *output(1, "ok"), told])
    assert made[0] == told
    assert made[3]["content"][0]["text"].startswith("[^same as lines 1-20 of message 1: # AGENTS")
    assert made[3]["content"][1]["text"].startswith("[^same as lines 1-11 of message 1.2: <envi")


@pytest.mark.parametrize(
    ("rules", "shorter"),
    [
        (Dedup(), True),
        (Dedup(min_lines=80), False),
        (Dedup(min_bytes="20kb"), False),
        (Dedup(keep_verbatim_below="20kb"), False),
        (Dedup(roles=["user"]), False),
        (Dedup(tools=["read_*"]), False),
        (Dedup(tools="exec_*"), True),
        (Dedup(within="1kb"), False),
        (Dedup(within="20kb"), True),
    ],
)
def test_each_threshold(rules: Dedup, shorter: bool) -> None:
    items = output(1, numbered(1, 60)) + output(2, "x" * 5000) + output(3, numbered(1, 60))
    text = sent(items, rules)[5]["output"]
    assert (text != numbered(1, 60)) is shorter


def test_what_moves_or_was_dropped_is_not_referred_to() -> None:
    said = {"type": "message", "role": "user", "content": numbered(1, 30)}
    newest = [{"when": {"position": "newest"}, "replace": {"text": "line 1 ", "with": "LINE 1 "}}]
    moving = Catch(msgspec.convert(newest, list[CatchRule]))
    assert sent([said, *output(1, numbered(1, 30))], catch=moving)[2]["output"] == numbered(1, 30)
    dropping = [{"when": {"role": "user"}, "drop": True}]
    gone = sent(
        [said, *output(1, numbered(1, 30))], catch=Catch(msgspec.convert(dropping, list[CatchRule]))
    )
    assert gone[1]["output"] == numbered(1, 30)


def test_blobs_are_sent_as_their_hash_where_that_is_wanted() -> None:
    blob = "QUJD" * 500
    made = sent(output(1, f"x {blob} y"), Dedup(blobs_over="1kb"))[1]["output"]
    assert made.startswith("x [blob sha256:") and made.endswith(" 2000 bytes] y")
    assert sent(output(1, f"x {blob} y"))[1]["output"] == f"x {blob} y"


def test_nothing_is_done_where_nothing_repeats() -> None:
    turn = turn_of(output(1, numbered(1, 30)) + output(2, numbered(40, 80)))
    done = Editors().edit(turn, NOTHING, THREAD, None, RULES)
    assert done.turn is turn and not done.dedup and not done.saved


def test_only_new_elements_are_looked_at_again() -> None:
    editors = Editors()
    items = output(1, numbered(1, 90))
    editors.edit(turn_of(items), NOTHING, THREAD, None, RULES)
    items += output(2, numbered(1, 90))
    kept = editors.edit(turn_of(items), NOTHING, THREAD, None, RULES)
    fresh = Editors().edit(turn_of(items), NOTHING, THREAD, None, RULES)
    assert kept.turn.body == fresh.turn.body
    assert (
        kept.saved
        == fresh.saved
        == len(numbered(1, 90))
        - len("[^same as lines 1-89 of output 1: line 1 of a file that is read m…]")
    )


#: A text: lines of the pool, or a stretch of an earlier text by (which, from, how long).
TEXTS = st.lists(
    st.sampled_from(LINES) | st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(1, 12)),
    max_size=12,
)
KINDS = st.sampled_from(
    ["output", "output", "user", "developer", "assistant", "call", "patch", "old"]
)
POLICIES = st.builds(
    Dedup,
    min_lines=st.integers(1, 4),
    min_bytes=st.integers(0, 130),
    roles=st.sets(st.sampled_from(["tool", "user", "developer"])).map(sorted),
    within=st.none() | st.integers(0, 400),
    keep_verbatim_below=st.integers(0, 60),
)


def conversation(made: list[tuple[str, list[Any]]], protocol: str) -> list[dict[str, Any]]:
    texts: list[list[str]] = []
    items: list[dict[str, Any]] = []
    for n, (kind, parts) in enumerate(made):
        lines: list[str] = []
        for part in parts:
            if isinstance(part, str):
                lines.append(part)
            elif texts:
                which, first, count = part
                lines += texts[which % len(texts)][first : first + count]
        texts.append(lines)
        items += elements(protocol, kind, "\n".join(lines), n)
    return items


def elements(protocol: str, kind: str, text: str, n: int) -> list[dict[str, Any]]:
    given = json.dumps({"cmd": text, "n": 1} if kind == "call" else {"n": 1})
    if kind == "old":
        wrapped = {"output": text, "metadata": {}}
        text = json.dumps(wrapped, ensure_ascii=n % 2 == 0, separators=(",", ":"))
    if protocol == "responses":
        if kind == "patch":
            call = {"type": "custom_tool_call", "call_id": f"c{n}", "name": "p", "input": text}
            return [call, {"type": "custom_tool_call_output", "call_id": f"c{n}", "output": ""}]
        if kind in ("output", "old", "call"):
            return output(
                n, text if kind != "call" else [{"type": "input_text", "text": "ok"}], given
            )
        return [{"type": "message", "role": kind, "content": text}]
    role = {"developer": "system", "user": "user", "assistant": "assistant"}.get(kind, "")
    if protocol == "chat":
        if role:
            return [{"role": role, "content": text}]
        function = {"name": "run", "arguments": given}
        call = {"id": f"c{n}", "type": "function", "function": function}
        answer = {"role": "tool", "tool_call_id": f"c{n}", "content": text}
        return [{"role": "assistant", "content": None, "tool_calls": [call]}, answer]
    if role in ("user", "assistant"):
        return [{"role": role, "content": [{"type": "text", "text": text or "x"}]}]
    use = {"type": "tool_use", "id": f"c{n}", "name": "run", "input": {"text": text}}
    result = {
        "type": "tool_result",
        "tool_use_id": f"c{n}",
        "content": [{"type": "text", "text": text}],
    }
    return [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]


@pytest.mark.parametrize("protocol", ["responses", "chat", "messages"])
@settings(max_examples=150)
@given(made=st.lists(st.tuples(KINDS, TEXTS), min_size=1, max_size=12), rules=POLICIES)
def test_it_leads_back_and_never_revises(
    protocol: str, made: list[tuple[str, list[Any]]], rules: Dedup
) -> None:
    items = conversation(made, protocol)
    whole = turn_of(items, protocol)
    done = Editors().edit(whole, NOTHING, THREAD, None, rules)
    said = [piece.text for piece in pieces(whole)]
    assert back(done.turn, rules) == said
    shorter = sum(map(len, said)) - sum(len(piece.text) for piece in pieces(done.turn))
    assert shorter == done.saved
    prompt = read_prompt(done.turn)
    assert prompt
    kept = Editors()
    for cut in range(1, len(items) + 1):
        part = kept.edit(turn_of(items[:cut], protocol), NOTHING, THREAD, None, rules)
        early = read_prompt(part.turn)
        assert early and early.elements == prompt.elements[:cut]
