"""The managed block in a user's config.toml: put in and taken out of any file there may be."""

from __future__ import annotations

import os
import re
import stat
import threading
import tomllib
from pathlib import Path

import pytest

from shim.codex import config, edit
from shim.codex.config import ConfigError, Setting, apply, enabled, strip
from shim.lock import Lock
from tests.unit import config_files

pytestmark = pytest.mark.slow

SETTING = Setting("kimi-k2", "http://127.0.0.1:8790/v1", ["/opt/interpose", "ensure"])
OTHER = Setting("demo", "http://127.0.0.1:9999/v1", [r"C:\Users\me\interpose.exe", "ensure"])
SEEDS = range(500)
BLOCKS = [SEEDS[n : n + 50] for n in range(0, len(SEEDS), 50)]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERPOSE_HOME", str(tmp_path / "state"))


def loads(raw: bytes) -> dict:
    return tomllib.loads(raw.decode("utf-8-sig"))


def test_the_files_are_what_they_should_be() -> None:
    files = [config_files.valid(seed) for seed in SEEDS]
    everything = b"".join(files)
    assert len(set(files)) > 450
    for mark in (
        b"\r\n",
        b"\xef\xbb\xbf",
        b"[model_providers]\n",
        b"model_providers = {",
        b"[profiles",
    ):
        assert mark in everything
    assert any(file and not file.endswith(b"\n") for file in files)
    tables = [loads(file) for file in files]
    assert sum("interpose" in t.get("model_providers", {}) for t in tables) > 30
    assert sum("model" in t for t in tables) > 50


@pytest.mark.parametrize("seeds", BLOCKS, ids=str)
def test_what_was_put_in_comes_out_byte_for_byte(seeds: range) -> None:
    for seed in seeds:
        there_and_back(config_files.valid(seed))


def there_and_back(raw: bytes) -> None:
    on = apply(raw, SETTING, "config.toml")
    now = loads(on)
    assert enabled(on) and not enabled(raw)
    assert (now["model"], now["model_provider"]) == ("kimi-k2", "interpose")
    assert now["model_providers"]["interpose"] == SETTING.values()
    had = loads(raw)
    away = ("model", "model_provider", "model_catalog_json", "model_providers")
    away += ("model_context_window", "model_auto_compact_token_limit")
    assert {k: v for k, v in now.items() if k not in away} == {
        k: v for k, v in had.items() if k not in away
    }
    others = {k: v for k, v in had.get("model_providers", {}).items() if k != "interpose"}
    assert {k: v for k, v in now["model_providers"].items() if k != "interpose"} == others
    for line in raw.decode("utf-8-sig").splitlines():
        assert line in on.decode(), "a line is gone"
    if raw.partition(b"\n")[0].endswith(b"\r"):
        assert on.count(b"\n") - on.count(b"\r\n") == raw.count(b"\n") - raw.count(b"\r\n")
    assert apply(on, SETTING, "config.toml") == on
    assert strip(on, "config.toml") == raw
    assert strip(apply(on, OTHER, "config.toml"), "config.toml") == raw
    assert strip(raw, "config.toml") == raw


@pytest.mark.parametrize("seeds", BLOCKS, ids=str)
def test_an_edit_in_between_is_kept(seeds: range) -> None:
    for seed in seeds:
        edited_in_between(config_files.valid(seed))


def edited_in_between(raw: bytes) -> None:
    on = apply(raw, SETTING, "config.toml").decode()
    ending = "\r\n" if "\r\n" in on.partition("model_provider")[0] else "\n"
    # Where Codex itself puts a key, at the end of ours; and a table at the end, as `codex mcp add`.
    mine = f"notify_me = true{ending}"
    table = f"{ending}[added.by.me]{ending}b = 2{ending}"
    edited = on.replace("# <<< interpose", f"{mine}# <<< interpose", 1) + table
    edited = re.sub(r'model = "kimi-k2"', 'model = "picked"', edited, count=1)
    off = strip(edited.encode(), "config.toml")
    bom = "\ufeff" if raw.startswith(b"\xef\xbb\xbf") else ""
    assert off.decode() == bom + mine + raw.decode("utf-8-sig") + table
    assert strip(apply(edited.encode(), OTHER, "config.toml"), "config.toml") == off


def test_a_broken_file_is_left_alone(tmp_path: Path) -> None:
    for seed in SEEDS:
        left_alone(tmp_path / "config.toml", config_files.broken(seed))


def left_alone(file: Path, raw: bytes) -> None:
    file.write_bytes(raw)
    for change in (lambda: edit.enable(file, SETTING), lambda: edit.disable(file)):
        with pytest.raises(ConfigError) as caught:
            change()
        place = re.match(rf"{re.escape(str(file))}:(\d+):(\d+): ", str(caught.value))
        assert place, caught.value
        assert 1 <= int(place[1]) <= raw.count(b"\n") + 1 and "\n" not in str(caught.value)
    assert file.read_bytes() == raw


def test_the_place_of_a_mistake() -> None:
    for raw, place in (
        (b'a = 1\nmodel = "x\n', "f:2:11"), (b"a = 1\nb ! 2\n", "f:2:3"), (b"a = [\n1,\n", "f:3:1"),
        (b'a = 1\nb = "\xff"\n', "f:2:6"),
    ):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            apply(raw, SETTING, "f")
        assert str(caught.value).startswith(place), caught.value


def test_a_key_set_anew_stays_and_the_old_one_stays_a_comment() -> None:
    on = apply(b'model = "old"\nmodel_provider = "mine"\nx = 1\n', SETTING, "f").decode()
    edited = on.replace("# <<< interpose\n", "# <<< interpose\nmodel_catalog_json = '/mine'\n")
    assert "model_catalog_json" in strip(edited.encode(), "f").decode()
    # The block deleted by hand, all but its end, and a model named again.
    rest = 'model = "newer"\n' + on.partition("# <<< interpose")[2].lstrip("\n")
    off = strip(("# <<< interpose\n" + rest).replace('model = "newer"\n', "").encode(), "f")
    assert loads(off) == {"model": "old", "model_provider": "mine", "x": 1}
    twice = on.replace(
        "x = 1", "model_context_window = 5\n#interpose# model_context_window = 9\nx = 1"
    )
    off = strip(twice.encode(), "f")
    assert loads(off)["model_context_window"] == 5 and loads(off)["model"] == "old"
    assert b"#interpose# model_context_window = 9" in off


def test_what_cannot_be_undone_is_not_done(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    for raw in (
        b'x = """\n#interpose# \n"""\n',
        b"#interpose# model = 1\n",
        b"[[model_providers]]\na = 1\n",
    ):
        file.write_bytes(raw)
        with pytest.raises(ConfigError, match="nothing was written"):
            edit.enable(file, SETTING)
        assert file.read_bytes() == raw


def test_a_file_that_was_not_there_is_gone_again(tmp_path: Path) -> None:
    file = tmp_path / ".codex" / "config.toml"
    assert edit.disable(file) is False
    assert edit.enable(file, SETTING) is True
    assert edit.enable(file, SETTING) is False
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert edit.enable(file, OTHER) is True
    assert edit.disable(file) is True
    assert not file.exists()
    edit.enable(file, SETTING)
    file.write_bytes(file.read_bytes() + b"[mine]\n")
    edit.disable(file)
    assert file.read_bytes() == b"[mine]\n"


def test_mode_and_link_are_kept(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "codex.toml"
    real.parent.mkdir()
    real.write_bytes(b"x = 1\n")
    real.chmod(0o640)
    link = tmp_path / "config.toml"
    link.symlink_to(real)
    edit.enable(link, SETTING)
    assert link.is_symlink() and b"interpose" in real.read_bytes()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    edit.disable(link)
    assert link.is_symlink() and real.read_bytes() == b"x = 1\n"
    assert [path.name for path in real.parent.iterdir()] == ["codex.toml"]


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b"x = 1\n")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        edit.enable(file, SETTING)
    assert file.read_bytes() == b"x = 1\n"
    assert [p.name for p in tmp_path.iterdir() if p.name != "state"] == ["config.toml"]


def test_two_at_once_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.toml"
    raw = config_files.valid(7)
    file.write_bytes(raw)
    threads = [
        threading.Thread(target=lambda n=n: (edit.disable if n % 3 else edit.enable)(*(
            (file,) if n % 3 else (file, SETTING)))) for n in range(12)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    edit.disable(file)
    assert file.read_bytes() == raw
    monkeypatch.setattr(edit, "_PATIENCE", 0.05)
    lock = Lock(tmp_path / "state" / "config.lock")
    lock.take()
    with pytest.raises(ConfigError, match="another command"):
        edit.enable(file, SETTING)
    lock.release()


def test_codex_writing_meanwhile_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b"x = 1\n")
    real, once = config.apply, []

    def slow(raw: bytes, *args: object, **named: object) -> bytes:
        if not once:
            once.append(file.write_bytes(b"x = 1\ny = 2\n"))
        return real(raw, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(config, "apply", slow)
    edit.enable(file, SETTING)
    edit.disable(file)
    assert file.read_bytes() == b"x = 1\ny = 2\n"
