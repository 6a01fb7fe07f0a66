"""Where things are, under the rules of each system; Windows' by its own path rules, on any machine."""

from __future__ import annotations

from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

import pytest

from shim.codex import where
from shim.codex.where import PlaceError, codex_path, script_path, state_path, without_proxy

WINDOWS = {"USERPROFILE": r"C:\Users\Ann Lee", "LOCALAPPDATA": r"D:\Data\Local"}


@pytest.mark.parametrize(
    ("env", "system", "state", "codex"),
    [
        ({"HOME": "/home/me"}, "linux", "/home/me/.local/state/interpose", "/home/me/.codex"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/s"}, "linux", "/s/interpose", "/h/.codex"),
        ({"HOME": "/h", "XDG_STATE_HOME": "rel"}, "linux", "/h/.local/state/interpose", "/h/.codex"),
        ({"HOME": "/Users/me", "XDG_STATE_HOME": "/s"}, "darwin", "/Users/me/Library/Application Support/Interpose", "/Users/me/.codex"),
        ({"HOME": "/h", "INTERPOSE_HOME": "/i", "CODEX_HOME": "/c"}, "linux", "/i", "/c"),
        ({"HOME": "/h", "INTERPOSE_HOME": "~/i", "CODEX_HOME": "~/c"}, "darwin", "/h/i", "/h/c"),
    ],
)  # fmt: skip
def test_places_of_unix(env: dict[str, str], system: str, state: str, codex: str) -> None:
    assert state_path(env, system) == PurePosixPath(state)
    assert codex_path(env, system) == PurePosixPath(codex)


@pytest.mark.parametrize(
    ("env", "state", "codex"),
    [
        (WINDOWS, r"D:\Data\Local\Interpose", r"C:\Users\Ann Lee\.codex"),
        ({"USERPROFILE": r"C:\Users\me"}, r"C:\Users\me\AppData\Local\Interpose", r"C:\Users\me\.codex"),
        ({"HOMEDRIVE": "C:", "HOMEPATH": r"\me"}, r"C:\me\AppData\Local\Interpose", r"C:\me\.codex"),
        ({**WINDOWS, "HOME": "/msys/home"}, r"D:\Data\Local\Interpose", r"C:\Users\Ann Lee\.codex"),
        ({**WINDOWS, "INTERPOSE_HOME": r"E:\i", "CODEX_HOME": r"\\server\share\c"}, r"E:\i", r"\\server\share\c"),
        ({**WINDOWS, "INTERPOSE_HOME": "~/i", "CODEX_HOME": r"~\c"}, r"C:\Users\Ann Lee\i", r"C:\Users\Ann Lee\c"),
    ],
)  # fmt: skip
def test_places_of_windows(env: dict[str, str], state: str, codex: str) -> None:
    assert state_path(env, "win32") == PureWindowsPath(state)
    assert codex_path(env, "win32") == PureWindowsPath(codex)
    assert isinstance(state_path(env, "win32"), PureWindowsPath)


def test_no_home_is_said() -> None:
    with pytest.raises(PlaceError, match="USERPROFILE"):
        state_path({}, "win32")


def test_a_relative_folder_is_that_of_where_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert state_path({"INTERPOSE_HOME": "here"}, "linux") == PurePath(tmp_path / "here")
    monkeypatch.setenv("INTERPOSE_HOME", str(tmp_path / "i"))
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "c"))
    assert where.state_folder() == tmp_path / "i"
    assert where.config_file() == tmp_path / "c" / "config.toml"


def test_our_own_command() -> None:
    assert script_path(r"C:\venv\Scripts\python.exe", "win32") == PureWindowsPath(
        r"C:\venv\Scripts\interpose.exe"
    )
    assert script_path("/venv/bin/python3", "linux") == PurePosixPath("/venv/bin/interpose")
    assert Path(where.own_command()[0]).is_absolute()


def test_loopback_needs_no_proxy() -> None:
    assert without_proxy({})["NO_PROXY"] == "127.0.0.1,localhost"
    env = without_proxy({"NO_PROXY": "corp.example, localhost", "no_proxy": "127.0.0.1,localhost"})
    assert env["NO_PROXY"] == "corp.example,localhost,127.0.0.1"
    assert env["no_proxy"] == "127.0.0.1,localhost"
