"""Where things are on Linux, macOS and Windows: Codex's home, our state folder, our own command."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

_ROOT = Path(__file__).resolve().parents[2]


class PlaceError(Exception):
    """What is missing on this machine, in one line."""


def state_folder() -> Path:
    """The one folder that holds what Interpose keeps: the daemon's files, homes of its own."""
    return Path(state_path(os.environ, sys.platform))


def codex_home() -> Path:
    """The home of the user's own Codex: ``CODEX_HOME``, else ``~/.codex``."""
    return Path(codex_path(os.environ, sys.platform))


def config_file() -> Path:
    """The user's own ``config.toml``, whether it is there or not."""
    return codex_home() / "config.toml"


def state_path(env: Mapping[str, str], system: str) -> PurePath:
    """``INTERPOSE_HOME``, else where ``system`` (a ``sys.platform``) keeps such things."""
    named = env.get("INTERPOSE_HOME")
    if named:
        return _absolute(named, env, system)
    home = home_path(env, system)
    if system == "win32":
        local = env.get("LOCALAPPDATA")
        return (PureWindowsPath(local) if local else home / "AppData" / "Local") / "Interpose"
    if system == "darwin":
        return home / "Library" / "Application Support" / "Interpose"
    base = env.get("XDG_STATE_HOME", "")
    # The XDG rules: a path that is not absolute counts as not set.
    chosen = PurePosixPath(base) if base.startswith("/") else home / ".local" / "state"
    return chosen / "interpose"


def codex_path(env: Mapping[str, str], system: str) -> PurePath:
    """Codex's home folder under that environment."""
    named = env.get("CODEX_HOME")
    return _absolute(named, env, system) if named else home_path(env, system) / ".codex"


def home_path(env: Mapping[str, str], system: str) -> PurePath:
    """The user's home folder. PlaceError when the environment does not say."""
    if system == "win32":
        profile = env.get("USERPROFILE")
        if not profile and env.get("HOMEDRIVE") and env.get("HOMEPATH"):
            profile = env["HOMEDRIVE"] + env["HOMEPATH"]
        if not profile:
            raise PlaceError("%USERPROFILE% is not set, so there is no home folder; set it")
        return PureWindowsPath(profile)
    if env.get("HOME"):
        return PurePosixPath(env["HOME"])
    try:
        return Path.home()
    except RuntimeError:
        raise PlaceError("HOME is not set, so there is no home folder; set it") from None


def script_path(executable: str, system: str) -> PurePath:
    """The `interpose` command that was installed beside the Python ``executable``."""
    if system == "win32":
        return PureWindowsPath(executable).parent / "interpose.exe"
    return PurePosixPath(executable).parent / "interpose"


def own_command() -> list[str]:
    """The words that start `interpose` from anywhere, whatever the PATH of the caller is."""
    script = Path(script_path(sys.executable, sys.platform))
    if script.is_file():
        return [str(script)]
    # Not installed as a command: the package is found from its own file.
    boot = "import sys; sys.path.insert(0, sys.argv.pop(1)); from {0} import main; sys.exit(main())"
    package = __package__.rpartition(".")[0]
    root = _ROOT.parent if package.startswith("interpose.") else _ROOT
    return [sys.executable, "-c", boot.format(f"{package}.cli"), str(root)]


def without_proxy(env: Mapping[str, str]) -> dict[str, str]:
    """``env``, with loopback exempt from a proxy: Codex sends even that to one that is set."""
    found = dict(env)
    for name in ("NO_PROXY", "no_proxy"):
        known = [part.strip() for part in env.get(name, "").split(",") if part.strip()]
        missing = [host for host in ("127.0.0.1", "localhost") if host not in known]
        found[name] = ",".join([*known, *missing])
    return found


def _absolute(named: str, env: Mapping[str, str], system: str) -> PurePath:
    path: PurePath = PureWindowsPath(named) if system == "win32" else PurePosixPath(named)
    if path.parts[:1] == ("~",):
        return home_path(env, system).joinpath(*path.parts[1:])
    return path if path.is_absolute() else Path.cwd() / path
