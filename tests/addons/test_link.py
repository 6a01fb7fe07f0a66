"""The recorder where it cannot be handed a pipe, as on Windows: it calls back on the loopback."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sqlite3
import time
from pathlib import Path

import msgspec
import pytest

from addons import link, recorder
from addons.jobs import Begun
from addons.link import Link
from tests.addons.harness import stages
from tests.addons.test_recording import (
    test_another_recorder_is_told_what_is_open,
    test_the_journal_tells_of_every_exchange,
    test_where_recording_is_required_nothing_goes_out_without,
)
from tests.unit.test_jobs import exchange

pytestmark = pytest.mark.slow

__all__ = [
    "stages",
    "test_another_recorder_is_told_what_is_open",
    "test_the_journal_tells_of_every_exchange",
    "test_where_recording_is_required_nothing_goes_out_without",
]


@pytest.fixture(autouse=True)
def calls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "CALLS_BACK", True)


def settings(folder: Path, **more: object) -> recorder.Settings:
    return recorder.Settings(str(folder / "x.flow"), os.getpid(), -1, **more)  # type: ignore[arg-type]


def test_no_descriptor_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}
    start = asyncio.create_subprocess_exec

    async def noted(*words: str, **how: object) -> asyncio.subprocess.Process:
        given.update(how, words=words)
        return await start(*words, **how)  # type: ignore[arg-type]

    async def work() -> None:
        made = await Link.start(settings(tmp_path), lambda said: None)
        await made.close()

    monkeypatch.setattr(link.asyncio, "create_subprocess_exec", noted)
    asyncio.run(work())
    assert "pass_fds" not in given
    said = json.loads(given["words"][2])  # type: ignore[index]
    assert said["begun"] == -1 and said["port"]


def test_only_who_knows_the_word_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strangers: list[socket.socket] = []

    class Crowded(Link):
        async def _run(self, settings: recorder.Settings, stdin: int, **more: object) -> None:
            for word in (b"", b"not the word\n", b"x" * 65):
                stranger = socket.create_connection(("127.0.0.1", settings.port))
                stranger.sendall(word)
                strangers.append(stranger)
            strangers[0].shutdown(socket.SHUT_WR)
            strangers[1].shutdown(socket.SHUT_WR)
            await super()._run(settings, stdin, **more)

    async def work() -> str:
        made = await Crowded.start(settings(tmp_path, urgent=True), lambda said: None)
        begun = Begun("id-1", time.time(), "{}", answer=True)
        why = await made.confirm("id-1", msgspec.json.encode(begun) + b"\n")
        await made.close()
        return why

    assert asyncio.run(work()) == ""
    for stranger in strangers:
        stranger.settimeout(5)
        try:
            assert stranger.recv(1) == b""
        except ConnectionError:
            pass
        stranger.close()


def test_all_that_began_arrives_though_the_channel_is_full(tmp_path: Path) -> None:
    """Lines are sent in pieces where there is no room for them whole."""
    many = 3000

    async def work() -> None:
        made = await Link.start(settings(tmp_path), lambda said: None)
        for n in range(many):
            begun = Begun(f"id-{n}", time.time(), json.dumps({"n": n, "pad": "x" * 2000}))
            made.begin(msgspec.json.encode(begun) + b"\n")
        assert made._backlog, "all of it has gone at once, so this shows nothing"
        await made.close()

    asyncio.run(work())
    with sqlite3.connect(tmp_path / "journal.db") as file:
        rows = file.execute("SELECT subject FROM event WHERE kind = 'start' ORDER BY rowid")
        assert [row[0] for row in rows] == [f"id-{n}" for n in range(many)]


def test_a_recorder_that_never_calls_is_no_recorder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = tmp_path / "ends.py"
    ends.write_text("raise SystemExit(3)\n")
    monkeypatch.setattr(link.recorder, "__file__", str(ends))
    with pytest.raises(OSError, match="does not call back"):
        asyncio.run(Link.start(settings(tmp_path), lambda said: None))


def test_what_cannot_be_sent_ends_the_recorder(tmp_path: Path) -> None:
    """The next body would build upon one that it has not been told."""
    body = b"word " * 2000
    good, bad = (exchange("k" * 9, [body, body], [b"a", b"b"], "t-1") for _ in range(2))
    bad.row["odd"] = lambda: None

    async def work() -> None:
        made = await Link.start(settings(tmp_path), lambda said: None)
        assert await made.send([good]) == ""
        with pytest.raises(Exception, match=r"pickle|lambda"):
            await made.send([bad])
        assert made._listens
        await made._listens
        assert made.failed and await made.send([good]) is None
        await made.close()

    asyncio.run(work())
