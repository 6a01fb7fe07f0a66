"""Claude Code's transcripts: the one path through their tree, sub-agents, and logged requests."""

from __future__ import annotations

from pathlib import Path

from shim.logs import read_log
from shim.turn import Usage
from tests.unit.logged import (
    FIXTURES,
    Transcript,
    assert_grows,
    bodies,
    message,
    only,
    result,
    text,
    use,
    written,
)


def test_a_transcript_with_parallel_calls(tmp_path: Path) -> None:
    log = Transcript()
    log.user("Go")
    log.model("a", text("I look."))
    first = log.model("a", use(1))
    second = log.model("a", use(2), tokens=9)
    # The output of the first call is no ancestor of what follows.
    log.user([result(1)], parent=first)
    log.user([text("seen"), result(2)], parent=second)
    log.model("b", text("Done."))
    summary = {"type": "summary", "summary": "A title", "leafUuid": "x"}
    session = only(tmp_path, [summary, *log.lines])
    assert (session.client, session.protocol, session.notes) == ("claude-code", "messages", [])
    start = [message("user", text("Go"))]
    more = [
        message("assistant", text("I look."), use(1), use(2)),
        message("user", result(1), result(2), text("seen")),
    ]
    assert bodies(session) == [
        {"model": "claude", "messages": start},
        {"model": "claude", "messages": start + more},
    ]
    assert_grows(session, "messages")
    assert [t.usage for t in session.turns] == [Usage(30, 20, 3, 9), Usage(30, 20, 3, 1)]
    assert [t.when for t in session.turns] == [1767225600.0, 1767225605.0]


def test_the_last_branch_is_the_conversation(tmp_path: Path) -> None:
    log = Transcript()
    start = log.user("Go")
    log.model("a", text("Wrong."))
    log.user("And?")
    log.model("b", text("Wrong again."))
    log.model("c", text("Right."), parent=start)
    log.model("err", text("API Error"), isApiErrorMessage=True)
    log.user("Go on", isMeta=True)
    log.model("d", text("On."))
    session = only(tmp_path, log.lines)
    texts = [[m["content"][0]["text"] for m in body["messages"]] for body in bodies(session)]
    assert texts == [["Go"], ["Go", "Right.", "Go on"]]
    (note,) = session.notes
    assert note.startswith("answers left out") and note.endswith(": 2")


def test_sub_agents_are_sessions_of_their_own(tmp_path: Path) -> None:
    main, agent, older = Transcript(), Transcript(isSidechain=True, agentId="ab1"), Transcript()
    main.user("Go")
    main.model("a", use(1))
    agent.user("Part")
    agent.model("p", text("Part done."))
    older.user("Old", uuid="root", isSidechain=True)
    older.model("o", text("Old done."), parent="root", isSidechain=True, uuid="o1")
    main.user([result(1)])
    main.model("b", text("Done."))
    lines = [*main.lines[:2], *agent.lines, *older.lines, *main.lines[2:]]
    sessions = read_log(written(tmp_path, lines))
    assert [(s.name, len(s.turns)) for s in sessions] == [
        ("log", 2),
        ("log/ab1", 1),
        ("log/root", 1),
    ]
    (alone,) = read_log(written(tmp_path, agent.lines, "agent-ab1.jsonl"))
    assert (alone.name, len(alone.turns)) == ("agent-ab1", 1)


def test_a_compaction_keeps_the_summary_and_what_it_names(tmp_path: Path) -> None:
    log = Transcript()
    log.user("Go")
    log.model("a", use(1))
    log.user([result(1)])
    head = log.model("b", use(2))
    tail = log.user([result(2)])
    kept = {"preservedSegment": {"headUuid": head, "tailUuid": tail}}
    more = {"subtype": "compact_boundary", "logicalParentUuid": tail, "compactMetadata": kept}
    log.add("system", None, **more)
    log.user("A summary", isCompactSummary=True, isVisibleInTranscriptOnly=True)
    log.user("Go on")
    log.model("c", text("On."))
    session = only(tmp_path, log.lines)
    assert [len(body["messages"]) for body in bodies(session)] == [1, 3, 3]
    assert bodies(session)[2]["messages"] == [
        message("user", text("A summary")),
        message("assistant", use(2)),
        message("user", result(2), text("Go on")),
    ]
    (note,) = session.notes
    assert note.startswith("line 6: the history was compacted")


def test_attachments_whose_text_is_not_there_are_told(tmp_path: Path) -> None:
    log = Transcript()
    log.user("Go")
    log.add("attachment", attachment={"type": "file"})
    log.add("attachment", attachment={"type": "date"}, rendered=[{"content": "Today"}])
    log.add("attachment", attachment={"type": "prompt_snapshot", "systemPrompt": ["Be", "good"]})
    log.model("a", text("Done."))
    session = only(tmp_path, log.lines)
    (body,) = bodies(session)
    assert body["system"] == [text("Be\n\ngood")]
    assert body["messages"] == [message("user", text("Go"), text("Today"))]
    assert session.notes == ["attachments whose text is not in the log: 1"]


def test_a_logged_request_that_lacks_a_part_is_rebuilt(tmp_path: Path) -> None:
    path = FIXTURES / "claude-code-2.1.329.jsonl"
    lines = [x for x in path.read_text().splitlines() if '"type":"api-request-blob"' not in x]
    session = only(tmp_path, lines)
    assert len(session.turns) == 3
    assert [body["messages"][0]["role"] for body in bodies(session)] == ["user"] * 3
    assert sum("it is rebuilt" in note for note in session.notes) == 3
    assert_grows(session, "messages")
