"""Recording through the chain: turned and packed files, the journal, and where it is required."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import ctx

from addons.flowfile import Unreadable, read
from addons.record import Record
from addons.replay import main as replay
from addons.stats import main as statistics
from addons.trial import main as trial
from shim.cli import main as interpose
from shim.record.asked import Asked
from shim.record.audit import exchanges, reading
from shim.record.files import pack, recordings
from shim.record.verify import verify
from tests.addons.harness import ANSWER, CODEX, KEY, TURN, Stages, error, stages, with_policy
from tests.everything import everything

pytestmark = pytest.mark.slow

__all__ = ["stages"]


def ask(stages: Stages, text: str = "hi", **headers: str) -> Any:
    return stages.send(stages.flow({**TURN, "input": text}, **{**CODEX, **headers}))


def answered(stages: Stages, **headers: str) -> Any:
    flow = ask(stages, **headers)
    stages.answer(flow, ANSWER, content_type="text/event-stream")
    return flow


def settle(stages: Stages) -> None:
    assert stages.services.recording.settle
    stages.loop.run_until_complete(stages.services.recording.settle())  # type: ignore[arg-type]


def rows(folder: Path) -> list[dict[str, Any]]:
    with reading(folder) as file:
        assert not verify(file).problems
        return exchanges(file, Asked(), 0.0)


def test_the_journal_tells_of_every_exchange(stages: Stages, tmp_path: Path) -> None:
    with_policy(stages)
    told = json.dumps({"turn_id": "turn-7", "thread_id": "x"})
    answered(stages, x_codex_turn_metadata=told, session_id="s1")
    stages.answer(ask(stages), b'{"error": {"message": "no"}}', 404)
    left = ask(stages)
    settle(stages)
    stages.fire("done")
    first, second, third = rows(tmp_path)
    assert (first["session"], first["thread"], first["turn"]) == ("s1", "t1", "turn-7")
    assert (first["client"], first["asked"], first["used"], first["route"]) == (
        "codex",
        "m",
        "up/vendor/big",
        "big",
    )
    assert (first["state"], first["status"], second["state"], second["status"]) == (
        "ok",
        200,
        "failed",
        404,
    )
    assert first["policy"] == second["policy"] and len(first["policy"]) == 12
    assert first["file"] == next(tmp_path.glob("*.flow")).name
    assert (third["flow"], third["state"]) == (left.id, "lost")
    with reading(tmp_path) as file:
        told = file.execute("SELECT kind, subject FROM event ORDER BY rowid").fetchall()
    for flow in (first["flow"], second["flow"]):
        assert [kind for kind, subject in told if subject == flow] == ["start", "end"]
    raw = b"".join(map(everything, tmp_path.iterdir()))
    assert KEY.encode() not in raw


def test_no_key_comes_into_the_journal_by_an_id(stages: Stages, tmp_path: Path) -> None:
    stages.services.running = True
    flow = stages.send(stages.flow({**TURN, "model": KEY}, session_id=KEY, thread_id=f"a-{KEY}"))
    stages.answer(flow, ANSWER, content_type="text/event-stream")
    settle(stages)
    page = stages.send(stages.flow(path="/metrics")).response
    assert page and b"interpose_turns_total" in page.content and KEY.encode() not in page.content
    stages.fire("done")
    (row,) = rows(tmp_path)
    assert row["session"] == "[redacted]"
    for path in tmp_path.glob("journal.db*"):
        assert KEY.encode() not in path.read_bytes()


def test_packed_files_are_read_by_every_command(
    stages: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_policy(stages)
    answered(stages)
    settle(stages)
    stages.fire("done")
    packed = pack(next(tmp_path.glob("*.flow")))
    assert [recorded.row["thread"] for recorded in read(packed)] == ["t1"]
    assert replay([str(tmp_path)]) == 0 and replay([str(packed)]) == 0
    assert trial(["explain", str(tmp_path)]) == 0
    assert packed.name in capsys.readouterr().out


def test_a_file_that_ends_in_the_middle_is_read_so_far(
    stages: Stages, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with_policy(stages)
    answered(stages)
    answered(stages)
    settle(stages)
    stages.fire("done")
    path = next(tmp_path.glob("*.flow"))
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    # The last leg is cut: its exchange is told by the one before.
    assert len(list(read(path))) == 2 and "in the middle" in caplog.text
    path.write_bytes(data.replace(b"regular", b"ruined!", 1).replace(b":", b"?", 1))
    with pytest.raises(Unreadable):
        list(read(path))


def test_files_go_on_in_another_at_their_size(stages: Stages, tmp_path: Path) -> None:
    ctx.options.update(upstream="chat", record_rotate="8k")
    for _ in range(4):
        answered(stages)
    settle(stages)
    stages.fire("done")
    files = list(recordings(tmp_path))
    assert len(files) > 1
    assert sum(len(list(read(path))) for path in files) == 4
    assert {row["file"] for row in rows(tmp_path)} == {p.name.removesuffix(".zst") for p in files}


def test_where_recording_is_required_nothing_goes_out_without(
    stages: Stages, tmp_path: Path
) -> None:
    way = tmp_path / "file"
    way.write_text("in the way")
    ctx.options.update(upstream="chat", record_required=True, record_dir=str(way / "sub"))
    flow = ask(stages)
    status, said = error_of(flow)
    assert status == 503 and "could not be recorded" in said
    assert not stages.run(flow).sealed
    stages.fire("response", flow)
    way.unlink()
    assert b"completed" in stages.answer(ask(stages), ANSWER, content_type="text/event-stream")
    settle(stages)
    health = stages.send(stages.flow(path="/health")).response
    assert health and json.loads(health.content or b"")["status"] == "ok"
    states = [row["state"] for row in rows(way / "sub")]
    assert sorted(states) == ["failed", "ok"]


def error_of(flow: Any) -> tuple[int, str]:
    if flow.response.status_code != 200:
        return error(flow)
    # Codex reads of a failure in the stream.
    return 503, flow.response.text


def test_another_recorder_is_told_what_is_open(stages: Stages, tmp_path: Path) -> None:
    ctx.options.update(upstream="chat")
    stages.services.running = True
    writer = stages.one(Record)._writer
    flow = ask(stages)
    writer._link.kill()
    stages.loop.run_until_complete(writer._link._process.wait())
    stages.answer(flow, ANSWER, content_type="text/event-stream")
    settle(stages)
    stages.fire("done")
    assert [row["state"] for row in rows(tmp_path)] == ["ok"]
    with sqlite3.connect(tmp_path / "journal.db") as file:
        kinds = file.execute("SELECT kind FROM event ORDER BY rowid").fetchall()
    assert ("lost",) not in kinds and kinds.count(("start",)) == 1


@pytest.fixture
def stopped(stages: Stages) -> Iterator[Any]:
    """The writer, its recorder stopped as if the machine gave it no time."""
    ctx.options.update(upstream="chat")
    stages.services.running = True
    writer = stages.one(Record)._writer
    stages.loop.run_until_complete(writer.start())
    pid = writer._link.pid
    os.kill(pid, signal.SIGSTOP)
    yield writer
    if writer._link and writer._link.pid == pid and not writer._link.failed:
        os.kill(pid, signal.SIGKILL)


def test_a_recorder_that_hangs_is_replaced_and_nothing_is_lost(
    stages: Stages, stopped: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addons.writer._PATIENCE", 0.3)
    writer, before = stopped, stopped._link.pid
    flow = ask(stages, "a long text " * 1000)
    stages.answer(flow, ANSWER, content_type="text/event-stream")
    monkeypatch.setattr("addons.writer._MOST", writer._waiting * 3 // 4)
    # The second one waits for room, in vain; it goes on all the same.
    answered(stages)
    settle(stages)
    assert writer._link.pid != before
    stages.fire("done")
    found = rows(tmp_path)
    assert [row["state"] for row in found] == ["ok", "ok"] and all(row["file"] for row in found)
    assert sum(len(list(read(path))) for path in recordings(tmp_path)) == 2


def test_a_recorder_that_gets_no_time_makes_room_for_an_urgent_one(
    stages: Stages, stopped: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addons.writer._LATE", 10)
    monkeypatch.setattr("addons.writer._LATE_FOR", 0.0)
    before = stopped._link.pid
    # Nobody waits for it.
    for _ in range(3):
        answered(stages)
    settle(stages)
    assert stopped._link.pid != before and stopped._settings.urgent
    stages.fire("done")
    found = rows(tmp_path)
    assert [row["state"] for row in found] == ["ok"] * 3 and all(row["file"] for row in found)


def test_far_behind_the_journal_alone_is_told_and_no_answer_is_held_up(
    stages: Stages, stopped: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = stopped
    under_way = [ask(stages, f"turn {n}") for n in range(3)]
    monkeypatch.setattr("addons.writer._MOST", 10)
    for flow in under_way:
        assert b"completed" in stages.answer(flow, ANSWER, content_type="text/event-stream")
    assert writer._waiting == writer._jobs[0].size
    os.kill(writer._link.pid, signal.SIGCONT)
    settle(stages)
    assert "too far behind" in str(stages.services.recording.error)
    answered(stages)
    settle(stages)
    assert stages.services.recording.error is None
    stages.fire("done")
    found = rows(tmp_path)
    assert [row["state"] for row in found] == ["ok"] * 4
    assert [bool(row["file"]) for row in found] == [True, False, False, True]
    assert sum(len(list(read(path))) for path in recordings(tmp_path)) == 2


def test_the_numbers_are_for_those_with_a_key(stages: Stages) -> None:
    from addons.access import Access

    stages.access(keys=("right-key",))
    stages.one(Access)._remote = True
    page = stages.flow(path="/metrics")
    assert stages.send(page).response.status_code == 401
    for header, status in (({}, 401), ({"authorization": "Bearer right-key"}, 200)):
        page = stages.flow(path="/metrics", **header)
        page.client_conn.peername = ("10.0.0.9", 1)
        assert stages.send(page).response.status_code == status


def test_the_command(stages: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[int, str]:
        code = interpose(["audit", *words, "--journal", str(tmp_path)])
        told = capsys.readouterr()
        return code, told.out + told.err

    assert run() == (2, f"interpose: {tmp_path / 'journal.db'}: there is no journal\n")
    with_policy(stages)
    answered(stages)
    answered(stages, thread_id="other")
    settle(stages)
    code, head = run("head")
    assert code == 0 and head.count(":") == 2
    assert run("verify", "--head", head.strip())[0] == 0
    code, said = run("--session", "oth")
    assert code == 0 and "1 exchanges: 1 ok" in said
    assert run("--status", "lost")[0] == 1
    assert run("--since", "never")[0] == 2 and run("--head", "x")[0] == 2
    assert [row["thread"] for row in json.loads(run("--json", "--model", "vendor")[1])] == [
        "t1",
        "other",
    ]
    assert run("--csv", "--since", "1h")[1].startswith("flow,state,began")
    assert "turn" in run("--session", "t1")[1]
    stages.fire("done")
    with sqlite3.connect(tmp_path / "journal.db") as file:
        file.execute("DROP TRIGGER event_stays")
        file.execute("UPDATE event SET data = '{}' WHERE n = 2")
    code, said = run("verify")
    assert code == 1 and "#2 (" in said and "changed" in said


def test_statistics_of_what_is_asked_for(
    stages: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with_policy(stages)
    answered(stages)
    answered(stages, thread_id="other")
    stages.answer(ask(stages, thread_id="third"), b'{"error": {"message": "no"}}', 404)
    settle(stages)

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["stats", *words, str(tmp_path)])
        code = statistics()
        told = capsys.readouterr()
        return code, told.out + told.err

    def found(*words: str) -> set[str]:
        code, said = run("--csv", *words)
        return {row["session"] for row in csv.DictReader(io.StringIO(said))} if code == 0 else set()

    assert found() == {"t1", "other", "third"}
    assert found("--errors") == found("--status", "404") == {"third"}
    assert found("--session", "oth") == {"other"}
    assert found("--provider", "up", "--client", "codex", "--since", "1h") == found()
    assert not found("--provider", "vendor") and not found("--until", "2h")
    assert run("--model", "none") == (2, f"interpose: {tmp_path}: no such turns there\n")
    as_json = json.loads(run("--json", "--status", "ok")[1])
    assert [t["session"] for t in as_json["sessions"]] == ["t1", "other"]
    assert interpose(["stats", "--until", "soon", str(tmp_path)]) == 2
    assert "--until takes" in capsys.readouterr().err


def test_health_waits_for_what_was_there_not_for_what_still_comes(stages: Stages) -> None:
    writer = stages.one(Record)._writer

    async def under_load() -> int:
        put, jobs = 0, list(writer._jobs)

        async def keep_putting() -> None:
            nonlocal put
            while True:
                if len(writer._jobs) < 3:
                    writer.put(jobs[0])
                    put += 1
                await asyncio.sleep(0)

        busy = asyncio.create_task(keep_putting())
        try:
            await asyncio.wait_for(writer.settle(), 20)
        finally:
            busy.cancel()
        return put

    answered(stages)
    assert stages.loop.run_until_complete(under_load())
    settle(stages)
