"""The journal and the flow files of real chains: ended at any moment, on a disk that is full or
read-only, two on one folder.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from mitmproxy import http
from mitmproxy.io import FlowReader

from addons.flowfile import flows_of, row_of
from shim.record import processes
from shim.record.asked import Asked
from shim.record.audit import NoJournal, exchanges, reading
from shim.record.files import opened, recordings
from shim.record.journal import unclosed
from shim.record.verify import verify
from tests.e2e.chain import Chain, poll
from tests.e2e.upstreams import Answer, Upstream
from tests.everything import everything
from tests.programs import ALL, install
from tests.unit.fixtures import DONE, chunk

EVENT = {"content-type": "text/event-stream"}
ANSWER = Answer(200, EVENT, [*[chunk({"content": "hello "})] * 20, chunk({}, "stop"), DONE])
KEY = "sk-planted-9876543210"
HEADERS = {"user-agent": "codex_exec/0.169.0", "thread-id": "t1", "authorization": f"Bearer {KEY}"}
TURN = {"model": "m", "stream": True, "input": "hi"}
CHAT = {"upstream": "chat"}


def flows(folder: Path) -> list[dict[str, Any]]:
    """The rows of all recorded legs; fails on a file that is not whole."""
    found = []
    for path in recordings(folder):
        with opened(path) as file:
            for flow in FlowReader(file).stream():
                assert isinstance(flow, http.HTTPFlow)
                found.append(row_of(flow))
    return found


def journal(folder: Path) -> dict[str, dict[str, Any]]:
    """Its exchanges; fails where it is not whole."""
    with suppress(NoJournal), reading(folder) as file:
        problems = verify(file).problems
        assert not problems, problems
        return {row["flow"]: row for row in exchanges(file, Asked(), 0.0)}
    return {}


def over(folder: Path) -> bool:
    """Whether nobody writes to the journal any more."""
    # The recorder of a chain that lived shortly may only come to make the file.
    with suppress(NoJournal), reading(folder) as file:
        begun = file.execute("SELECT count(*) FROM segment").fetchone()[0]
        return begun and all(processes.gone(opening.who, 0.0, 0.0) for _, opening in unclosed(file))
    return False


def held(until: threading.Event) -> Answer:
    """An answer that begins, and goes on when it may."""

    def live() -> Iterator[bytes]:
        yield chunk({"content": "more "})
        until.wait(30)

    return Answer(200, EVENT, live=live)


async def _load(url: str, requests: int, kill: int, pid: int) -> list[int]:
    """Turns side by side; after ``kill`` answers the process ``pid`` is ended, at once."""
    statuses: list[int] = []

    async def one(client: httpx.AsyncClient, n: int) -> None:
        turn = {**TURN, "input": "word " * (2000 if n % 5 == 0 else 20)}
        with suppress(httpx.TransportError):
            got = await client.post(f"{url}/responses", json=turn, headers=HEADERS)
            if b"response.completed" in got.content:
                statuses.append(got.status_code)
            if len(statuses) == kill:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    limits = httpx.Limits(max_connections=8)
    async with httpx.AsyncClient(limits=limits, timeout=30, trust_env=False) as client:
        await asyncio.gather(*(one(client, n) for n in range(requests)))
    return statuses


def _ended_at(moment: int) -> None:
    """One chain under load, ended after ``moment`` answers."""
    with Upstream([ANSWER]) as upstream, Chain(upstream.url, options=CHAT) as chain:
        answered = asyncio.run(_load(chain.url, moment + 10, moment, chain.pid))
        chain.stop()
        folder = chain.record_dir
        # What the proxy had told is written by those that it leaves behind.
        poll(lambda: over(folder), what="the recorder's end")
        rows = journal(folder)
        whole = [row["exchange"] for row in flows(folder) if row["leg"] == "client"]
        assert len(answered) >= moment
        # Whatever went out is told of, and so is what became of it.
        states = {flow: row["state"] for flow, row in rows.items()}
        assert len(rows) >= len(upstream.posts()) >= len(answered)
        assert set(states.values()) <= {"ok", "lost", "failed"}, states
        assert set(whole) == {flow for flow, row in rows.items() if row["ended"]}
        lost = len(rows) - len(whole)
        assert lost == list(states.values()).count("lost")
        raw = b"".join(map(everything, folder.iterdir()))
        assert KEY.encode() not in raw


@pytest.mark.full
@pytest.mark.parametrize("moment", [1, 7, 23])
def test_a_chain_that_is_ended_at_any_moment_leaves_whole_files(moment: int) -> None:
    _ended_at(moment)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(200))
def test_a_chain_that_is_ended_at_200_moments_leaves_whole_files(seed: int) -> None:
    _ended_at(random.Random(seed).randint(1, 60))


@pytest.mark.full
def test_what_was_in_flight_is_named_by_any_reader_and_by_the_next_chain(tmp_path: Path) -> None:
    options = {**CHAT, "record_dir": str(tmp_path)}
    until = threading.Event()
    with Upstream(lambda seen: held(until)) as upstream:
        with Chain(upstream.url, options=options) as chain:
            with httpx.stream("POST", f"{chain.url}/responses", json=TURN, headers=HEADERS) as got:
                # Whoever lets go of this hangs up.
                pieces = got.iter_raw()
                assert next(pieces)
                poll(lambda: journal(tmp_path), what="the start")
                ((flow, row),) = journal(tmp_path).items()
                assert (row["state"], row["thread"], row["asked"]) == ("open", "t1", "m"), str(row)
                # Both at once, as when the machine goes down: nobody is left to tell.
                with reading(tmp_path) as file:
                    pids = unclosed(file)[0][1].who["pids"]
                for pid, _ in pids:
                    os.kill(pid, signal.SIGKILL)
                until.set()
            chain.stop()
            poll(lambda: over(tmp_path), what="the end of both")
            assert journal(tmp_path)[flow]["state"] == "lost", journal(tmp_path)
            assert "lost" in audit("--status", "lost", folder=tmp_path)
        with Upstream([ANSWER]) as other, Chain(other.url, options=options) as chain:
            assert chain.post("/v1/responses", json=TURN, headers=HEADERS).status_code == 200
            chain.get("/health?exchanges=1")
            states = {row["state"] for row in journal(tmp_path).values()}
            assert states == {"ok", "lost"}
    with reading(tmp_path) as file:
        told = file.execute("SELECT subject FROM event WHERE kind = 'lost'").fetchall()
    assert told == [(flow,)]


def audit(*words: str, folder: Path) -> str:
    command = [Path(sys.executable).parent / "interpose", "audit", *words]
    done = subprocess.run(
        [*command, "--journal", str(folder)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.full
def test_two_chains_on_one_journal(tmp_path: Path) -> None:
    options = {**CHAT, "record_dir": str(tmp_path)}
    with (
        Upstream([ANSWER]) as upstream,
        Chain(upstream.url, options=options) as one,
        Chain(upstream.url, options=options) as other,
    ):

        async def both() -> list[list[int]]:
            return await asyncio.gather(*(_load(c.url, 20, -1, 0) for c in (one, other)))

        assert [len(statuses) for statuses in asyncio.run(both())] == [20, 20]
        for chain in (one, other):
            chain.get("/health?exchanges=1")
            assert chain.health()["status"] == "ok"
        rows = journal(tmp_path)
        assert len(rows) == 40 and {row["state"] for row in rows.values()} == {"ok"}
        assert len({row["file"] for row in rows.values()}) == 2
    head = audit("head", folder=tmp_path).strip()
    assert "nothing changed" in audit("verify", "--head", head, folder=tmp_path)
    assert len(json.loads(audit("--json", folder=tmp_path))) == 40
    assert audit("--csv", folder=tmp_path).count("\n") == 41
    assert "░ waits" in audit("--session", "t1", folder=tmp_path)


#: A chain in a process namespace of its own has the same process number as any other.
ALONE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="process namespaces are Linux's")
def test_two_chains_of_one_process_number_on_one_folder(tmp_path: Path) -> None:
    """As in two containers over one volume: neither cuts off or closes what the other writes."""
    options = {**CHAT, "record_dir": str(tmp_path)}
    for _ in range(3):
        with (
            Upstream([ANSWER]) as upstream,
            Chain(upstream.url, options=options, inside=ALONE) as one,
            Chain(upstream.url, options=options, inside=ALONE) as other,
        ):

            async def both(chains: tuple[Chain, Chain] = (one, other)) -> list[list[int]]:
                return await asyncio.gather(*(_load(c.url, 20, -1, 0) for c in chains))

            assert [len(statuses) for statuses in asyncio.run(both())] == [20, 20]
            for chain in (one, other):
                chain.get("/health?exchanges=1")
                assert "lost" not in {row["state"] for row in journal(tmp_path).values()}
    rows = journal(tmp_path)
    assert len(rows) == 120 and {row["state"] for row in rows.values()} == {"ok"}
    files = sorted(tmp_path.glob("*.flow"))
    assert len(files) == 6 == len({row["file"] for row in rows.values()})
    told = [row_of(flow)["leg"] for path in files for flow in flows_of(path)]
    assert told.count("client") == told.count("upstream") == 120
    assert {path.name.split("-")[2] for path in files} == {"1"}


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system of 1 MB at ``folder``; the test is left out where nobody may mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", ",".join(("size=1m", *options)), "none", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def works(chain: Chain) -> httpx.Response:
    return chain.post("/v1/responses", json={**TURN, "input": "long " * 4000}, headers=HEADERS)


def fill(chain: Chain, most: int = 60, *, required: bool = False) -> int:
    """Turns until the chain says that it cannot record; how many were answered in full."""
    for n in range(most):
        got = works(chain)
        if required and b"could not be recorded" in got.content:
            # The row with which the turn begins has no room.
            return n
        assert b"response.completed" in got.content
        chain.get("/health?exchanges=1")
        if chain.health()["status"] == "degraded":
            return n + 1
    raise AssertionError("the disk does not get full")


def test_a_full_disk_is_told_and_no_answer_is_lost(tmp_path: Path) -> None:
    with Upstream([ANSWER]) as upstream, mounted(tmp_path / "disk") as disk:
        with Chain(upstream.url, options={**CHAT, "record_dir": str(disk)}) as chain:
            fill(chain)
            for _ in range(5):
                assert b"response.completed" in works(chain).content
            assert "No space left" in chain.health()["recording"]["error"]
            assert "interpose_recording 0" in chain.get("/metrics").text
            assert "not recorded" in chain.log()
            # What still waits would otherwise be written when there is room again.
            chain.get("/health?exchanges=1")
            before = len(flows(disk))
            subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
            assert b"response.completed" in works(chain).content
            chain.get("/health?exchanges=1")
            assert chain.health()["status"] == "ok"
            assert len(flows(disk)) == before + 2
        rows = journal(disk)
        assert {row["state"] for row in rows.values()} == {"ok"}
        assert len([row for row in rows.values() if row["file"]]) == before // 2 + 1


@pytest.mark.full
def test_where_recording_is_required_a_full_disk_refuses_turns(tmp_path: Path) -> None:
    options = {**CHAT, "record_required": "true"}
    with Upstream([ANSWER]) as upstream, mounted(tmp_path / "disk") as disk:
        with Chain(upstream.url, options={**options, "record_dir": str(disk)}) as chain:
            fill(chain, required=True)
            sent = len(upstream.posts())
            got = chain.post("/v1/responses", json=TURN, headers=HEADERS)
            assert "could not be recorded" in got.text and len(upstream.posts()) == sent
            subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
            assert b"response.completed" in works(chain).content
            flows(disk)


@pytest.mark.parametrize("required", ["false", "true"])
def test_a_read_only_folder(tmp_path: Path, required: str) -> None:
    with Upstream([ANSWER]) as upstream, mounted(tmp_path / "disk", "ro") as disk:
        options = {**CHAT, "record_dir": str(disk), "record_required": required}
        with Chain(upstream.url, options=options) as chain:
            got = works(chain)
            assert (b"response.completed" in got.content) == (required == "false")
            chain.get("/health?exchanges=1")
            assert chain.health()["status"] == "degraded"
            assert "ead-only" in chain.health()["recording"]["error"]
            assert len(upstream.posts()) == (required == "false")


@pytest.mark.full
def test_a_clock_that_is_set_under_a_running_chain(tmp_path: Path) -> None:
    if ALL:
        install("libfaketime")
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if not library:
        pytest.skip("needs libfaketime (the Debian package libfaketime)")
    clock = tmp_path / "clock"
    clock.write_text("+0d")
    env = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    options = {**CHAT, "record_dir": str(tmp_path / "flows"), "journal_keep_days": "30"}
    jumps = ("+0d", "+400d", "-400d", "+1d", "-2h", "+0d")
    with Upstream([ANSWER]) as upstream, Chain(upstream.url, options=options, env=env) as chain:
        for jump in jumps:
            clock.write_text(jump)
            assert b"response.completed" in works(chain).content
            chain.get("/health?exchanges=1")
        assert chain.health()["status"] == "ok"
    with reading(tmp_path / "flows") as file:
        found = verify(file)
        rows = exchanges(file, Asked(), 0.0)
    assert not found.problems and not found.dropped
    # It did jump, and nothing was taken for old.
    assert rows[-1]["began"] - rows[0]["began"] > 700 * 86_400
    assert [row["state"] for row in rows] == ["ok"] * len(jumps)
    assert all(row["ended"] >= row["began"] for row in rows)
    assert len(flows(tmp_path / "flows")) == 2 * len(jumps)


@pytest.mark.full
def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Upstream([ANSWER]) as upstream:
        # mitmproxy makes its certificates at the start; they fit.
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
        try:
            chain = Chain(upstream.url, options={**CHAT, "record_dir": str(tmp_path)})
            with chain:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
                fill(chain)
                assert b"response.completed" in works(chain).content
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert flows(tmp_path)
    with reading(tmp_path) as file:
        assert not verify(file).problems
