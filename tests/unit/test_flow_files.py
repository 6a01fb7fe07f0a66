"""The files that recordings go to: whole whatever happens, turned, packed, dropped in time."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shim.record.events import Event
from shim.record.files import FlowFiles, new_name, opened, pack, recordings, whole
from shim.record.journal import Journal
from shim.state.store import SQLite

DAY = 86_400.0
#: A flow as far as this module knows it.
FLOW = b"20:12345678901234567890}"
NOW = time.mktime((2027, 1, 15, 12, 0, 0, 0, 0, -1))


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def files(folder: Path, clock: Clock | None = None, **more: int) -> FlowFiles:
    return FlowFiles(folder / "20270115-120000-77.flow", clock=clock or Clock(), **more)


def names(folder: Path) -> list[str]:
    return [path.name for path in recordings(folder)]


def packed() -> None:
    """Wait for what is packed beside."""
    for thread in threading.enumerate():
        if thread.daemon and thread is not threading.current_thread():
            thread.join(10)


def test_flows_go_into_one_file_that_only_the_user_reads(tmp_path: Path) -> None:
    made = files(tmp_path / "a" / "b")
    assert made.append(FLOW) == made.append(FLOW)
    (path,) = recordings(tmp_path / "a" / "b")
    assert path.read_bytes() == FLOW * 2 and path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_full_is_packed_and_another_begins(tmp_path: Path) -> None:
    made = files(tmp_path, rotate=60)
    for _ in range(5):
        made.append(FLOW)
        packed()
    assert names(tmp_path) == [
        "20270115-120000-77-2.flow.zst",
        "20270115-120000-77-3.flow",
        "20270115-120000-77.flow.zst",
    ]
    data = b""
    for path in recordings(tmp_path):
        with opened(path) as file:
            data += file.read()
        assert path.stat().st_mode & 0o777 == 0o600
    assert data == FLOW * 5


@pytest.mark.parametrize("days", [1, -3])
def test_each_day_has_its_own(tmp_path: Path, days: int) -> None:
    clock = Clock()
    made = files(tmp_path, clock)
    made.append(FLOW)
    clock.now += days * DAY
    made.append(FLOW)
    packed()
    assert (
        len(names(tmp_path)) == 2 and len([n for n in names(tmp_path) if n.endswith(".zst")]) == 1
    )


def test_what_could_not_be_written_whole_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, real = files(tmp_path), os.write
    made.append(FLOW)
    path = made.path

    def full(descriptor: int, data: memoryview) -> int:
        if len(data) < len(FLOW):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[:7])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        made.append(FLOW)
    assert path.read_bytes() == FLOW
    # Where not even that can be taken back, the next one does it.
    monkeypatch.setattr(os, "ftruncate", lambda *_: full(0, memoryview(b"")))
    with pytest.raises(OSError, match="No space"):
        made.append(FLOW)
    assert path.read_bytes() == FLOW + FLOW[:7]
    monkeypatch.undo()
    made.append(FLOW)
    assert path.read_bytes() == FLOW * 2


def test_what_comes_again_is_found_far_away_and_though_it_is_packed(tmp_path: Path) -> None:
    chance, packer = random.Random(3), zstandard.ZstdCompressor(level=1)
    words = ["".join(chance.choices("abcdefghijklmnop", k=chance.randint(3, 9))) for _ in range(4000)]
    frames = [packer.compress(" ".join(chance.choices(words, k=3000)).encode()) for _ in range(900)]
    path = tmp_path / "x.flow"
    later = chance.sample(frames, len(frames))
    path.write_bytes(b"".join(frames + later))
    before = path.stat().st_size
    assert pack(path).stat().st_size < 0.6 * before


@given(st.integers(0, 3), st.binary(max_size=30))
def test_what_a_recorder_left_half_is_cut_off_by_the_next(count: int, rest: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        made = files(Path(folder))
        made.path.write_bytes(FLOW * count + FLOW[: len(rest) % len(FLOW)])
        assert whole(made.path) == len(FLOW) * count
        made.append(FLOW)
        assert made.path.read_bytes() == FLOW * (count + 1)
        made.path.write_bytes(rest)
        assert 0 <= whole(made.path) <= len(rest)


def aged(path: Path, days: float) -> Path:
    path.write_bytes(FLOW * 100)
    os.utime(path, (NOW - days * DAY, NOW - days * DAY))
    return path


def test_retention_by_age_and_by_size(tmp_path: Path) -> None:
    for day in range(1, 9):
        aged(tmp_path / f"2027010{day}-120000-7.flow", 15 - day)
    foreign = aged(tmp_path / "mine.flow", 900)
    other = aged(tmp_path / "20270115-110000-8.flow", 0.1)
    made = files(tmp_path, days=10)
    made.append(FLOW)
    made.tidy()
    kept = names(tmp_path)
    assert kept == [
        "20270105-120000-7.flow.zst", "20270106-120000-7.flow.zst", "20270107-120000-7.flow.zst",
        "20270108-120000-7.flow.zst", other.name, made.path.name, foreign.name,
    ]  # fmt: skip
    one = (tmp_path / kept[0]).stat().st_size
    small = files(tmp_path, size=len(FLOW) * 102 + 2 * one)
    small.append(FLOW)
    small.tidy()
    assert names(tmp_path) == [*kept[2:4], other.name, made.path.name, foreign.name]


def test_a_clock_that_was_set_drops_nothing(tmp_path: Path) -> None:
    clock = Clock()
    made = files(tmp_path, clock, days=10)
    aged(tmp_path / "20270114-120000-7.flow", 1)
    clock.now += 4000 * DAY
    made.tidy()
    assert names(tmp_path) == ["20270114-120000-7.flow"]


def test_packing_never_overwrites(tmp_path: Path) -> None:
    path = aged(tmp_path / "20270101-120000-7.flow", 1)
    data = path.read_bytes()
    packed = pack(path)
    assert not path.exists() and packed.stat().st_mtime == NOW - DAY
    path.write_bytes(data + FLOW)
    with pytest.raises(FileExistsError):
        pack(path)
    # The one who packed it was ended before it was taken away.
    path.write_bytes(data)
    assert pack(path) == packed and not path.exists()


def test_a_damaged_packed_file_is_an_error_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "a.flow.zst"
    path.write_bytes(b"no zstandard")
    with opened(path) as file, pytest.raises(OSError, match="unpacked"):
        file.read()


def test_two_chains_with_one_pid_that_begin_in_one_second_have_files_of_their_own(
    tmp_path: Path,
) -> None:
    """Containers over one volume: each has a process 7."""
    made = [FlowFiles(tmp_path / new_name(7, 1e9), rotate=60) for _ in range(2)]
    paths = {chain.append(FLOW) for chain in made * 4}
    packed()
    assert len(paths) == 4
    assert len(list(recordings(tmp_path))) == 4
    owners = [{path.name.split("-")[3][:8] for path in paths if chain._owner in path.name} for chain in made]
    assert [len(owner) for owner in owners] == [1, 1] and owners[0] != owners[1]


def test_what_is_made_is_for_the_user_only(tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        made = files(tmp_path / "a" / "b")
        made.probe()
        path = made.append(FLOW)
        pack(path)
        store = SQLite(tmp_path / "c" / "d" / "stored.db")
        store.put("key", b"value")
        journal = Journal(tmp_path / "e" / "f" / "journal.db")
        assert journal.add([Event("start", 1.0, "x", "{}")]) is None
        modes = {p: p.stat().st_mode & 0o777 for p in tmp_path.rglob("*")}
        store.close()
        journal.close()
    finally:
        os.umask(former)
    assert len(modes) >= 9
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
