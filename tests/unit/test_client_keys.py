"""The keys of clients: which source counts, and what a file that changes, breaks or empties does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shim.exchange.client_keys import FILE, VARIABLE, ClientKeys, matching, owner_of


def started(env: dict[str, str], option: tuple[str, ...] = ()) -> ClientKeys:
    keys = ClientKeys()
    keys.start(env)
    keys.use(option)
    return keys


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text("one\ntwo\n")
    return path


def test_the_option_goes_before_the_file_and_that_before_the_variable(file: Path) -> None:
    assert started({}).valid is None
    assert started({VARIABLE: " "}).valid is None
    assert started({VARIABLE: "a b"}).valid == ("a", "b")
    both = {VARIABLE: "a", FILE: str(file)}
    assert started(both).valid == ("one", "two")
    keys = started(both, ("x",))
    assert keys.valid == ("x",)
    keys.use(())
    assert keys.valid == ("one", "two")


def test_a_file_is_read_again(file: Path) -> None:
    keys = started({FILE: str(file)})
    # Of the same size and age: what is in it counts.
    before = file.stat()
    file.write_text("one\ntoo\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    keys.look()
    assert keys.valid == ("one", "too") and keys.error is None
    fresh = file.with_name("fresh")
    fresh.write_text("\ufeffthree")
    fresh.replace(file)
    keys.look()
    assert keys.valid == ("three",)


def test_an_empty_file_lets_nobody_in(file: Path) -> None:
    keys = started({FILE: str(file)})
    file.write_text(" \n")
    keys.look()
    assert keys.valid == () and keys.error is None
    assert started({FILE: str(file)}).valid == ()


@pytest.mark.parametrize("broken", ["gone", "bytes", "folder", "long"])
def test_a_file_that_cannot_be_read_leaves_the_last_keys(file: Path, broken: str) -> None:
    keys = started({FILE: str(file)})
    file.unlink()
    if broken == "bytes":
        file.write_bytes(b"\xff\xfeone")
    elif broken == "folder":
        file.mkdir()
    elif broken == "long":
        file.write_text("x " * 600_000)
    keys.look()
    assert keys.valid == ("one", "two")
    assert keys.error and str(file) in keys.error and "one" not in keys.error.replace("none", "")
    with pytest.raises(ValueError, match=FILE):
        started({FILE: str(file)})
    if broken == "folder":
        file.rmdir()
    file.write_text("two")
    keys.look()
    assert keys.valid == ("two",) and keys.error is None


def test_a_key_is_one_of_them_or_none() -> None:
    keys = ("one", "schlüssel")
    assert matching("one", keys) and matching("schlüssel", keys)
    for wrong in ("", "on", "one ", "oneone", "two", "\udcff"):
        assert not matching(wrong, keys)
    assert not matching("", ()) and len({owner_of("one"), owner_of("two"), owner_of("")}) == 3
