"""The journal: what is appended, what verify finds, and what becomes of a process that is gone."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.record import processes
from shim.record.asked import Asked
from shim.record.audit import NoJournal, exchanges, reading
from shim.record.events import END, START, Event, begun, ended, link
from shim.record.journal import Journal, loose_ends
from shim.record.verify import Checked, verify

DAY = 86_400.0
NOW = 1_800_000_000.0


class Clock:
    """The wall clock, and one that nobody sets."""

    def __init__(self, now: float = NOW) -> None:
        self.now, self.steady = now, 100.0

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.steady += seconds

    def journal(self, path: Path, **more: Any) -> Journal:
        return Journal(path, clock=lambda: self.now, steady=lambda: self.steady, **more)


def start(name: str, at: float = NOW, **said: Any) -> Event:
    return Event(START, at, name, json.dumps(said))


def end(name: str, at: float = NOW, **said: Any) -> Event:
    return Event(END, at, name, json.dumps({"status": 200, **said}))


def checked(path: Path, *heads: str) -> Checked:
    with reading(path) as file:
        return verify(file, heads)


def head(path: Path) -> str:
    with reading(path) as file:
        return ",".join(map(str, loose_ends(file)))


def rows(path: Path, now: float = NOW, **asked: Any) -> dict[str, dict[str, Any]]:
    with reading(path) as file:
        return {row["flow"]: row for row in exchanges(file, Asked(**asked), now)}


def written(path: Path, exchanges: int = 9, most: int = 5) -> Path:
    journal = Journal(path, most=most)
    for n in range(exchanges):
        assert journal.add([start(f"x{n}"), end(f"x{n}")]) is None
    journal.close()
    return path


def tamper(path: Path, *statements: str) -> None:
    file = sqlite3.connect(path)
    file.executescript("DROP TRIGGER event_stays; DROP TRIGGER segment_stays;")
    for statement in statements:
        file.execute(statement)
    file.commit()
    file.close()


def test_an_exchange_is_one_row(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "journal.db"
    journal = Journal(path)
    route = {"provider": "up", "model": "vendor/m", "reason": "default", "name": "big"}
    row: dict[str, Any] = {
        "thread": "t1", "session": "s1", "client": "codex", "model": "m", "route": route,
        "status": 200, "usage": {"input_tokens": 7, "output_tokens": 3}, "policy": "abc",
        "decisions": ["repair: one call", "route: x"], "ms": {"total": 9.0, "added": 1.5},
    }  # fmt: skip
    journal.add([Event(START, NOW, "x", json.dumps(begun(row)))])
    assert rows(path)["x"]["state"] == "open"
    journal.add([Event(END, NOW + 1, "x", json.dumps(ended(row, NOW, "a.flow")))])
    journal.add([end("y", error="no", started=NOW - 1), start("z")])
    found = rows(path)
    one = found["x"]
    assert (one["state"], one["began"], one["ended"]) == ("ok", NOW, NOW + 1)
    assert (one["used"], one["route"], one["repairs"], one["file"]) == (
        "up/vendor/m",
        "big",
        1,
        "a.flow",
    )
    assert (one["input"], one["output"], one["added"], one["policy"]) == (7, 3, 1.5, "abc")
    assert list(found) == ["y", "x", "z"] and found["y"]["state"] == "failed"
    assert list(rows(path, session="1", model="vendor")) == ["x"]
    assert list(rows(path, status="open")) == ["z"] and list(rows(path, status="2xx")) == ["y", "x"]
    assert list(rows(path, since=NOW + 0.5)) == ["x", "z"]
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    journal.close()
    assert rows(path)["z"]["state"] == "lost" and not checked(path).problems


def test_events_are_never_changed(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.db")
    with (
        sqlite3.connect(path) as file,
        pytest.raises(sqlite3.IntegrityError, match="never changed"),
    ):
        file.execute("UPDATE event SET data = '{}'")


def test_an_untouched_journal_is_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.db")
    found = checked(path, head(path))
    assert not found.problems and found.segments == 3 and found.events > 18


COLUMN = st.sampled_from(["kind", "at", "subject", "data", "hash"])


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["change", "delete", "swap", "renumber", "copy"]))
def test_whatever_is_done_to_an_event_verify_names_it(data: st.DataObject, how: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "journal.db", exchanges=data.draw(st.integers(3, 9)))
        kept = head(path)
        with sqlite3.connect(path) as file:
            events = file.execute("SELECT segment, n FROM event ORDER BY rowid").fetchall()
        file.close()
        segment, n = data.draw(st.sampled_from(events))
        at = f"segment = '{segment}' AND n = {n}"
        if how == "change":
            column = data.draw(COLUMN)
            value = "1.5" if column == "at" else "'{\"status\":201}'"
            tamper(path, f"UPDATE event SET {column} = {value} WHERE {at}")
        elif how == "delete":
            tamper(path, f"DELETE FROM event WHERE {at}")
        elif how == "renumber":
            tamper(
                path,
                f"DELETE FROM event WHERE {at}",
                f"UPDATE event SET n = n - 1 WHERE segment = '{segment}' AND n > {n}",
            )
        elif how == "swap":
            other = n + 1 if (segment, n + 1) in events else n - 1
            n = min(n, other)
            tamper(
                path,
                f"UPDATE event SET n = -1 WHERE segment = '{segment}' AND n = {n}",
                f"UPDATE event SET n = {n} WHERE segment = '{segment}' AND n = {n + 1}",
                f"UPDATE event SET n = {n + 1} WHERE segment = '{segment}' AND n = -1",
            )
        else:
            columns = "segment, n + 1000, kind, at, subject || '-', data, hash"
            tamper(path, f"INSERT INTO event SELECT {columns} FROM event WHERE {at}")
            n = max(m for s, m in events if s == segment) + 1
        problems = checked(path, kept).problems
        assert problems and any(p.startswith(f"{segment}#{n}") for p in problems), problems


def test_an_event_changed_with_its_hash_breaks_the_next(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.db")
    with sqlite3.connect(path) as file:
        segment, before = file.execute("SELECT segment, hash FROM event WHERE n = 2").fetchone()
        at, subject = file.execute("SELECT at, subject FROM event WHERE n = 3").fetchone()
    forged = link(before, segment, 3, Event(START, at, subject, '{"asked":"x"}'))
    where = f"segment = '{segment}' AND n = 3"
    tamper(path, f"UPDATE event SET data = '{{\"asked\":\"x\"}}', hash = '{forged}' WHERE {where}")
    assert checked(path).problems[0].startswith(f"{segment}#4 ")


@pytest.mark.parametrize("events", ["", "DELETE FROM event WHERE segment = '{}'"])
def test_a_missing_segment_is_found(tmp_path: Path, events: str) -> None:
    path = written(tmp_path / "journal.db")
    with sqlite3.connect(path) as file:
        middle = file.execute("SELECT id FROM segment WHERE number = 2").fetchone()[0]
    tamper(path, f"DELETE FROM segment WHERE id = '{middle}'", events.format(middle) or "SELECT 1")
    assert any(p.startswith(f"{middle}: the segment is missing") for p in checked(path).problems)


def test_all_of_a_process_missing_is_found_by_the_next(tmp_path: Path) -> None:
    path = written(written(tmp_path / "journal.db"))
    with sqlite3.connect(path) as file:
        first = file.execute("SELECT process FROM segment").fetchone()[0]
    tamper(path, f"DELETE FROM segment WHERE process = '{first}'",
           f"DELETE FROM event WHERE segment LIKE '{first}%'")  # fmt: skip
    assert f"{first}.3: the segment is missing" in " ".join(checked(path).problems)


def test_a_changed_opening_is_found(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.db")
    tamper(path, "UPDATE segment SET opening = replace(opening, 'host', 'hots') WHERE number = 2")
    assert any("opening" in p for p in checked(path).problems)


def test_a_cut_tail_is_found_only_against_a_head(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.db", exchanges=2, most=99)
    kept = head(path)
    tamper(path, "DELETE FROM event WHERE n > 3")
    assert not checked(path).problems
    (problem,) = checked(path, kept).problems
    assert "#5" in problem and "missing" in problem and "by the head given" in problem


def test_everything_rewritten_is_found_only_against_a_head(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.db", exchanges=2)
    kept = head(path)
    for file in tmp_path.iterdir():
        file.unlink()
    written(path, exchanges=2)
    assert not checked(path).problems and "missing" in checked(path, kept).problems[0]
    assert "is no head" in checked(path, "nonsense").problems[0]


def test_an_old_head_still_holds_when_more_has_come(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path, most=4)
    heads = []
    for n in range(10):
        journal.add([start(f"x{n}"), end(f"x{n}")])
        heads.append(head(path))
    assert len(set(heads)) == 10 and not checked(path, *heads).problems
    journal.close()


def test_two_processes_on_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    script = (
        "import sys; from pathlib import Path; from shim.record.journal import Journal\n"
        "from shim.record.events import Event\n"
        "j = Journal(Path(sys.argv[1]), most=20)\n"
        "for n in range(100):\n"
        "    for kind in ('start', 'end'):\n"
        "        assert j.add([Event(kind, 1.0 * n, f'{sys.argv[2]}{n}')]) is None\n"
        "j.close()\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(path), name]) for name in "abc"]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    found = checked(path)
    assert not found.problems and found.segments >= 30 and len(rows(path)) == 300
    assert "," not in head(path) or len(head(path).split(",")) <= 3


def test_what_a_killed_process_left_open_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from shim.record.journal import Journal; from shim.record.events import Event\n"
        "j = Journal(Path(sys.argv[1]), most=3)\n"
        "j.add([Event('start', 1.0, f'x{n}') for n in range(3)])\n"
        "j.add([Event('end', 2.0, 'x1', '{\"status\": 200}')])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    # Any reader tells it, before anybody has written it down.
    assert {k: v["state"] for k, v in rows(path).items()} == {
        "x0": "lost",
        "x1": "ok",
        "x2": "lost",
    }
    journal = Journal(path)
    journal.add([start("y")])
    with sqlite3.connect(path) as file:
        lost = [s for (s,) in file.execute("SELECT subject FROM event WHERE kind = 'lost'")]
    assert lost == ["x0", "x2"] and rows(path)["y"]["state"] == "open"
    assert not checked(path).problems
    journal.close()
    again = Journal(path)
    again.add([start("z")])
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT count(*) FROM event WHERE kind = 'lost'").fetchone() == (3,)


def test_a_process_that_has_ended_but_is_not_waited_for_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    Journal(path, [child.pid]).add([start("x")])
    assert rows(path)["x"]["state"] == "open"
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert rows(path)["x"]["state"] == "lost"
    child.wait()


def test_a_process_of_another_container_is_gone_an_hour_after_its_last_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    who = processes.describe([os.getpid()])
    assert not processes.gone(who, 0, 9 * DAY)
    monkeypatch.setattr(processes, "_space", lambda: "pid:[1]")
    assert not processes.gone(who, 0, 3600) and processes.gone(who, 0, 3601)
    del who["space"]
    # An older version has not said where it ran.
    assert not processes.gone(who, 0, 9 * DAY)


def test_retention_drops_whole_segments_and_says_so(tmp_path: Path) -> None:
    path, clock = tmp_path / "journal.db", Clock()
    journal = clock.journal(path, keep=3)
    heads = []
    for day in range(10):
        journal.add([start(f"d{day}"), end(f"d{day}")])
        heads.append(head(path))
        clock.passes(DAY)
    journal.add([start("last")])
    found = checked(path, *heads)
    assert not found.problems and found.dropped == 6 and found.segments == 5
    assert set(rows(path)) == {"d6", "d7", "d8", "d9", "last"}
    # What was dropped without a word is missing.
    tamper(path, "DELETE FROM event WHERE segment = (SELECT id FROM segment LIMIT 1)",
           "DELETE FROM segment WHERE rowid = (SELECT min(rowid) FROM segment)")  # fmt: skip
    assert any("missing" in problem for problem in checked(path).problems)


@pytest.mark.parametrize("jump", [4000 * DAY, -4000 * DAY, 7200.0, -7200.0])
def test_a_clock_that_is_set_drops_nothing_and_breaks_nothing(tmp_path: Path, jump: float) -> None:
    path, clock = tmp_path / "journal.db", Clock()
    journal = clock.journal(path, keep=3)
    for n in range(4):
        journal.add([start(f"x{n}", clock.now), end(f"x{n}", clock.now)])
        clock.passes(DAY / 4)
    clock.now += jump
    for n in range(4, 9):
        journal.add([start(f"x{n}", clock.now), end(f"x{n}", clock.now)])
        clock.passes(DAY / 4)
    found = checked(path)
    assert not found.problems and not found.dropped and len(rows(path)) == 9
    journal.close()


def test_what_cannot_be_written_comes_with_the_next(tmp_path: Path) -> None:
    (tmp_path / "way").write_text("a file where a folder should be")
    path = tmp_path / "way" / "journal.db"
    journal = Journal(path)
    assert "journal.db" in (journal.add([start("x")]) or "")
    assert journal.add([end("x")])
    (tmp_path / "way").unlink()
    assert journal.add([start("y")]) is None
    assert {k: v["state"] for k, v in rows(path).items()} == {"x": "ok", "y": "open"}
    assert not checked(path).problems


def test_a_file_taken_away_is_made_anew_and_misses_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.add([start("x")])
    for file in tmp_path.iterdir():
        file.unlink()
    assert journal.add([start("y")]) is None
    assert set(rows(path)) == {"y"}
    assert any(".1: the segment is missing" in p for p in checked(path).problems)


def test_files_that_are_none(tmp_path: Path) -> None:
    bad = tmp_path / "journal.db"
    for make in (lambda: None, lambda: bad.write_bytes(b"no database, certainly not one" * 99)):
        read: Callable[[], Any] = make
        read()
        with pytest.raises(NoJournal, match=r"journal\.db"), reading(tmp_path) as file:
            verify(file)
