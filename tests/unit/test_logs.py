"""Session logs: the requests that are read back from them, and what is not readable."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard

from shim.logs import LogError, find_logs, read_log
from shim.logs.types import Turns
from shim.turn import Usage
from tests.unit.logged import (
    FIXTURES,
    Transcript,
    assert_grows,
    bodies,
    message,
    only,
    text,
    written,
)


def line(kind: str, payload: Any, second: int = 0, **more: Any) -> dict[str, Any]:
    return {"timestamp": f"2026-01-01T00:00:{second:02}Z", "type": kind, "payload": payload, **more}


def said(role: str, text: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def call(n: int) -> dict[str, Any]:
    return {"type": "function_call", "name": "shell", "arguments": "{}", "call_id": f"c{n}"}


def output(n: int, text: str = "ok") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": f"c{n}", "output": text}


def items(*payloads: Any) -> list[Any]:
    return [line("response_item", payload) for payload in payloads]


def counted(last: int, total: int) -> dict[str, Any]:
    usage = {"input_tokens": last, "cached_input_tokens": 1, "output_tokens": 2}
    info = {"last_token_usage": usage, "total_token_usage": {**usage, "input_tokens": total}}
    return line("event_msg", {"type": "token_count", "info": info})


META = line("session_meta", {"id": "00000000-0000-7000-8000-000000000001"})
CONTEXT = line("turn_context", {"model": "m"})


def test_a_rollout_is_a_request_per_answer(tmp_path: Path) -> None:
    reasoning = {"type": "reasoning", "summary": [], "content": None}
    asked, answer = said("user", "Go"), said("assistant", "I look.")
    session = only(
        tmp_path,
        [
            META,
            CONTEXT,
            line("response_item", asked, 1),
            *items(reasoning, answer, call(1), call(2)),
            line("response_item", output(1), 2),
            line("response_item", output(2), 3),
            counted(10, 10),
            {"timestamp": None, "type": "of a later version", "payload": {"type": 7}},
            line("event_msg", {"type": "of a later version", "info": "words"}),
            *items({"type": "ghost_snapshot", "ghost_commit": {}}, said("assistant", "Done.")),
            counted(20, 30),
            *items(said("user", "Never answered")),
        ],
    )
    assert (session.name, session.client, session.protocol) == ("log", "codex", "responses")
    first = [asked]
    second = [asked, reasoning, answer, call(1), call(2), output(1), output(2)]
    assert bodies(session) == [{"model": "m", "input": first}, {"model": "m", "input": second}]
    assert_grows(session, "input")
    assert [turn.usage for turn in session.turns] == [Usage(10, 1, 0, 2), Usage(20, 1, 0, 2)]
    assert [turn.when for turn in session.turns] == [1767225601.0, 1767225603.0]
    assert session.notes == []


def test_turns_are_a_sequence(tmp_path: Path) -> None:
    session = only(tmp_path, [META, *items(said("user", "a"), call(1), output(1), call(2))])
    assert isinstance(session.turns, Turns)
    assert len(session.turns) == 2 and session.turns[-1] == list(session.turns)[1]
    assert list(session.turns[1:]) == [session.turns[1]]
    with pytest.raises(IndexError):
        session.turns[2]


def test_the_first_rollouts_have_no_envelopes(tmp_path: Path) -> None:
    begun = {"id": "x", "timestamp": "2025-06-01T00:00:00Z", "instructions": None}
    lines = [begun, {"record_type": "state"}, said("user", "Go"), call(1), output(1)]
    session = only(tmp_path, [*lines, said("assistant", "Done.")])
    assert [len(body["input"]) for body in bodies(session)] == [1, 3]
    assert "model" not in bodies(session)[0] and session.turns[0].when is None
    assert session.notes == []


def test_tokens_find_their_answer_in_either_order(tmp_path: Path) -> None:
    go, done = said("user", "Go"), said("assistant", "Done.")
    after = [META, *items(go, call(1), output(1)), counted(10, 10), counted(10, 10)]
    before = [META, *items(go), counted(10, 10), *items(call(1), output(1)), counted(20, 30)]
    none = line("event_msg", {"type": "token_count", "info": None})
    for lines in ([*after, none, *items(done), counted(20, 30)], [*before, *items(done)]):
        session = only(tmp_path, lines)
        assert [t.usage and t.usage.input for t in session.turns] == [10, 20]


def test_two_answers_with_nothing_between(tmp_path: Path) -> None:
    """Their tokens are counted apart, or they say themselves what the model had seen."""
    go, one, two = said("user", "Go"), said("assistant", "One."), said("assistant", "Two.")
    lines = [META, *items(go, one), counted(10, 10), *items(two), counted(11, 21)]
    seen = [
        line("response_item", payload, metadata={"sampled_through_sequence": n})
        for payload, n in ((go, 0), (one, 1), (two, 2))
    ]
    for session in (only(tmp_path, lines), only(tmp_path, [META, *seen])):
        assert [body["input"] for body in bodies(session)] == [[go], [go, one]]


@pytest.mark.parametrize("newest", [True, False])
def test_a_compaction_starts_the_history_anew(tmp_path: Path, newest: bool) -> None:
    go, new = said("user", "Go"), said("user", "A summary")
    told: dict[str, Any] = {"message": "A summary"}
    if newest:
        told["replacement_history"] = [new]
    lines = [META, *items(go, call(1), output(1)), counted(10, 10), counted(5, 15)]
    session = only(tmp_path, [*lines, line("compacted", told), *items(call(2), output(2), call(3))])
    fresh = [new] if newest else [go, new]
    assert [body["input"] for body in bodies(session)] == [
        [go],
        [go, call(1), output(1)],
        fresh,
        [*fresh, call(2), output(2)],
    ]
    assert [t.usage and t.usage.input for t in session.turns] == [10, 5, None, None]
    (note,) = session.notes
    assert note.startswith("line 7: ")


def test_a_compaction_by_an_item(tmp_path: Path) -> None:
    item = {"type": "compaction", "encrypted_content": "zip"}
    told = {"message": "", "replacement_history": [said("user", "Go"), item]}
    record = line("token_usage_record", {"usage": {"input_tokens": 5, "output_tokens": 1}})
    lines = [META, *items(said("user", "Go"), call(1), output(1)), record, record]
    session = only(tmp_path, [*lines, line("compacted", told), *items(call(2))])
    assert bodies(session)[1]["input"][-1] == {"type": "compaction_trigger"}
    assert bodies(session)[2]["input"] == [said("user", "Go"), item]
    assert session.notes == []


def test_turns_that_were_taken_back(tmp_path: Path) -> None:
    context = said("user", "<environment_context>here</environment_context>")
    back = line("event_msg", {"type": "thread_rolled_back", "num_turns": 1})
    one, two = items(said("user", "One"), call(1)), items(said("user", "Two"), call(2))
    session = only(
        tmp_path, [META, *items(context), *one, *two, back, *items(said("user", "3"), call(3))]
    )
    assert bodies(session)[-1]["input"] == [
        context,
        said("user", "One"),
        call(1),
        said("user", "3"),
    ]


def test_what_a_fork_copied_was_asked_by_another(tmp_path: Path) -> None:
    own = {"id": "00000000-0000-7000-8000-000000000005"}
    copied = [META, *items(said("user", "Go"), call(1), output(1)), counted(10, 10)]
    begun = line("event_msg", {"type": "task_started", "turn_id": own["id"][:-1] + "6"})
    lines = [line("session_meta", own), *copied, begun, *items(said("user", "Part"), call(2))]
    session = only(tmp_path, [*lines, counted(20, 30)])
    (turn,) = session.turns
    assert turn.usage == Usage(20, 1, 0, 2)
    assert bodies(session)[0]["input"] == [
        said("user", "Go"),
        call(1),
        output(1),
        said("user", "Part"),
    ]
    numbered = [line("session_meta", {**own, "subagent_history_start_ordinal": 3}, ordinal=0)]
    numbered += [{**one, "ordinal": n} for n, one in enumerate([META, *items(call(1))], 1)]
    numbered += [{**one, "ordinal": n} for n, one in enumerate(items(output(1), call(2)), 3)]
    assert [len(body["input"]) for body in bodies(only(tmp_path, numbered))] == [2]


def plain(value: Any) -> Any:
    """A request without what no log says: the ids that Codex makes when it sends; texts as blocks."""
    for item in value.get("input", ()):
        if item.get("role") == "developer":
            item.pop("id", None)
    for one in value.get("messages", ()):
        if isinstance(one["content"], str):
            one["content"] = [text(one["content"])]
    return value


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.jsonl")), ids=lambda path: path.stem)
def test_genuine_logs_tell_what_was_sent(path: Path) -> None:
    sent = [plain(body) for body in json.loads(path.with_suffix(".sent.json").read_text())]
    (session,) = read_log(path)
    found = [plain(body) for body in bodies(session)]
    if session.client == "codex":
        # The third is a compaction, whose last words are not in the log.
        sent[2]["input"].pop()
        assert len(session.notes) == 1
        assert_grows(session, "input", since=3)
    else:
        assert session.notes == []
        assert_grows(session, "messages")
    assert found == sent
    assert all(turn.usage and turn.usage.input and turn.when for turn in session.turns)


def test_damaged_lines_are_notes(tmp_path: Path) -> None:
    path = written(tmp_path, [META, *items(said("user", "Go"), call(1))])
    good = path.read_bytes().splitlines()
    bad = [
        b"{",
        b"\xff\xfe",
        b"[]",
        b'"x"',
        b'{"type":"response_item","payload":[1]}',
        b"\0\0",
        b"",
    ]
    path.write_bytes(b"\n".join([*bad, *good, *bad, good[-1][:-9]]))
    (session,) = read_log(path)
    assert [len(body["input"]) for body in bodies(session)] == [1]
    numbers = [int(note.split()[1].rstrip(":")) for note in session.notes]
    assert {1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16, 18} == set(numbers)
    log = Transcript()
    log.user("Go")
    log.user("Lost")
    log.model("a", text("Done."))
    log.lines[1] = {"type": "user", "uuid": 7}
    lost = only(tmp_path, ["{", *log.lines])
    assert bodies(lost)[0]["messages"] == [message("user", text("Go"))]
    assert [note[:7] for note in lost.notes] == ["line 1:", "line 3:", "line 4:"]


@pytest.mark.parametrize(
    "content", [b"", b"\n \n", b"\x7fELF\x00\xff\n\x00", b'{"a":1}\n', b"[1]", b"words\n"]
)
def test_what_is_no_session_log(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with pytest.raises(LogError, match="no session log") as caught:
        read_log(path)
    assert caught.value.path == path and caught.value.why


def test_json_that_others_refuse(tmp_path: Path) -> None:
    """Nested too deeply it is a damaged line; halves of characters become what stands for them."""
    deep = '{"type":"event_msg","payload":' + "[" * 9000 + "]" * 9000 + "}"
    words, left = "\\ud83d \ud83d, \ude00 and \U0001f600", "\\ud83d \ufffd, \ufffd and \U0001f600"
    session = only(tmp_path, [META, deep, *items(said("user", words), call(1))])
    assert bodies(session)[0]["input"] == [said("user", left)]
    assert [note[:7] for note in session.notes] == ["line 2:"]


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.jsonl", tmp_path):
        with pytest.raises(LogError, match="cannot be read"):
            read_log(path)


def test_compressed_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = written(tmp_path, [META, *items(said("user", "Go"), call(1), output(1))]).read_bytes()
    packed = {"a.jsonl.gz": gzip.compress(raw), "b.jsonl.zst": zstandard.compress(raw)}
    for name, data in packed.items():
        path = tmp_path / name
        path.write_bytes(data)
        (session,) = read_log(path)
        assert (session.name, len(session.turns), session.notes) == (name[0], 1, [])
        path.write_bytes(b"no such thing")
        with pytest.raises(LogError, match="cannot be read"):
            read_log(path)
    for module in ("compression.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(LogError, match="zstd"):
        read_log(tmp_path / "b.jsonl.zst")


def test_logs_are_found(tmp_path: Path) -> None:
    inside = tmp_path / "2026" / "01"
    inside.mkdir(parents=True)
    for name in ("b.jsonl", "a.jsonl", "c.jsonl.zst", "d.json", "e.jsonl.tmp"):
        (inside / name).touch()
    other = tmp_path / "other.txt"
    found = find_logs([tmp_path, inside / "a.jsonl", other])
    assert [path.name for path in found] == ["a.jsonl", "b.jsonl", "c.jsonl.zst", "other.txt"]
