"""Which exchanges are meant: filters say the same of the journal and of recordings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shim.record.asked import Asked, as_columns, moment
from shim.record.events import END, START, Event, begun, ended
from shim.record.journal import Journal
from tests.unit.test_journal import DAY, NOW, end, rows, start

ROWS: list[dict[str, Any]] = [
    {"exchange": "one", "session": "s-1", "thread": "t-1", "client": "codex", "model": "big",
     "route": {"provider": "east", "model": "vendor/big", "reason": "x"}, "status": 200,
     "ms": {"total": 2000.0}},
    {"exchange": "two", "session": "s-2", "thread": "t-2", "client": "claude-code", "model": "small",
     "route": {"provider": "west", "model": "mini", "reason": "x"}, "status": 429, "error": "slow",
     "ms": {"total": 500.0}},
    {"exchange": "three", "session": "s-2", "thread": "t-3", "client": "codex", "model": "small",
     "route": {"provider": "east", "model": "mini", "reason": "x", "name": "cheap"}, "status": 503,
     "ms": {"total": 500.0}},
]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, {"one", "two", "three"}),
        ({"session": "s-2"}, {"two", "three"}),
        ({"session": "…t-3"}, {"three"}),
        ({"model": "vendor"}, {"one"}),
        ({"model": "cheap"}, {"three"}),
        ({"provider": "east"}, {"one", "three"}),
        ({"provider": "mini"}, set()),
        ({"client": "claude"}, {"two"}),
        ({"status": "4xx"}, {"two"}),
        ({"status": "503"}, {"three"}),
        ({"status": "failed"}, {"two", "three"}),
        ({"errors": True}, {"two", "three"}),
        ({"errors": True, "provider": "east"}, {"three"}),
        ({"since": NOW + 1}, {"one", "two", "three"}),
        ({"since": NOW + 11}, {"three"}),
        ({"until": NOW + 10}, {"one"}),
        ({"since": NOW + 3, "until": NOW + 15}, {"two"}),
    ],
)
def test_the_same_is_found_in_the_journal_and_in_recordings(
    tmp_path: Path, asked: dict[str, Any], wanted: set[str]
) -> None:
    path = tmp_path / "journal.db"
    journal, found = Journal(path), set()
    for n, row in enumerate(ROWS):
        at = NOW + 10 * n
        over = at + row["ms"]["total"] / 1000
        journal.add([Event(START, at, row["exchange"], json.dumps(begun(row)))])
        journal.add([Event(END, over, row["exchange"], json.dumps(ended(row, at, "a.flow")))])
        if Asked(**asked).wants(as_columns(row, at)):
            found.add(row["exchange"])
    assert set(rows(path, **asked)) == found == wanted
    journal.close()


def test_what_is_under_way_is_there_whenever_it_began(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.add([start("x", NOW - 500, client="codex"), start("y", NOW - 500), end("y", NOW - 400)])
    assert list(rows(path, since=NOW)) == ["x"] and not rows(path, errors=True)
    journal.close()
    assert list(rows(path, errors=True)) == ["x"] and not rows(path, since=NOW)


def test_times() -> None:
    assert moment("2h", NOW) == NOW - 7200 and moment("2027-01-15", NOW) == 1_799_971_200
    assert moment("2027-01-15", NOW, last=True) == 1_799_971_200 + DAY
    assert moment("2027-01-15T00:00", NOW, last=True) == 1_799_971_200
    for text in ("yesterday", "9999-12-31"):
        with pytest.raises(ValueError, match="3d"):
            moment(text, NOW, last=True)
