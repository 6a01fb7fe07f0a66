"""Reads this machine for the doctor: files, programs, ports, the environment. Nothing is changed.

Each group of sections has a thread of its own and a deadline, so that a file system or a program
that hangs costs its own section only.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

import msgspec

from ..codex.config import PROVIDER
from ..codex.places import codex_home
from ..policy.load import Report, examine
from ..policy.read import Problem
from . import catalog, clients, config, login, machine, network, policies
from .finding import Finding, Section, Unread, read
from .programs import asked, programs
from .sockets import health, listens

#: Seconds for a group of sections.
PATIENCE = 5.0
_CATALOG, _POLICY = 16 << 20, 4 << 20
_ROOT = Path(__file__).resolve().parents[2]
ORDER = (
    "Python", "Packages", "Codex", "Config", "Catalog", "Port", "Login", "Proxies",
    "Certificates", "Policy", "Recordings", "Providers",
)  # fmt: skip


class Asked(msgspec.Struct, frozen=True):
    """What the user asks about."""

    policy: Path
    record_dir: Path
    port: int


def gather(asked: Asked, env: Mapping[str, str]) -> list[Finding]:
    """All findings that need no network, in the order of the sections."""
    groups: dict[str, Callable[[], list[Finding]]] = {
        "Python": lambda: _python(),
        "Codex": lambda: _clients(env),
        "Config": lambda: _home(asked, env),
        "Policy": lambda: policies.policies(report(asked.policy, env), asked.policy, env),
        "Recordings": lambda: machine.recordings(_folder(asked.record_dir)),
    }
    found = _in_time(groups, PATIENCE)
    return sorted(found, key=lambda finding: ORDER.index(finding.section))


def report(path: Path, env: Mapping[str, str]) -> Report:
    """What there is to say about the policy at ``path``."""
    try:
        raw = read(path, _POLICY)
        if raw is None:
            raise Unread("is not there; name one with --policy or INTERPOSE_POLICY")
        text = raw.decode("utf-8-sig")
    except Unread as e:
        return Report([Problem(str(path), 1, 1, "", str(e))], [])
    except UnicodeDecodeError:
        return Report([Problem(str(path), 1, 1, "", "is not UTF-8 text")], [])
    return examine(text, str(path), path.parent, env)


def _in_time(groups: Mapping[str, Callable[[], list[Finding]]], patience: float) -> list[Finding]:
    done: dict[str, list[Finding]] = {}

    def work(name: str, check: Callable[[], list[Finding]]) -> None:
        try:
            done[name] = check()
        except Exception as e:
            section = Section(name)
            section.warn(
                f"could not be looked at: {type(e).__name__}: {e}", "tell us: it is a bug of ours"
            )
            done[name] = section.found

    # Daemons: one that hangs must not keep the process.
    threads = [
        threading.Thread(target=work, args=(name, check), daemon=True)
        for name, check in groups.items()
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    found: list[Finding] = []
    for name in groups:
        if name not in done:
            section = Section(name)
            section.warn(
                f"could not be looked at within {patience:g} s",
                "see whether a file system or a program it needs hangs",
            )
            done[name] = section.found
        found += done[name]
    return found


def _python() -> list[Finding]:
    found = machine.python(sys.version_info[:3], sys.executable)
    wanted = _wanted()
    names = [machine.name_of(requirement) for requirement in wanted]
    return found + machine.packages(wanted, {name: _installed(name) for name in names})


def _wanted() -> list[str]:
    """What this package needs; a checkout is not installed, and says it in its own file."""
    try:
        return [r for r in metadata.requires("interpose") or [] if "extra ==" not in r]
    except metadata.PackageNotFoundError:
        pass
    try:
        project = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        return [str(requirement) for requirement in project["dependencies"]]
    except (OSError, ValueError, KeyError):
        return []


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _clients(env: Mapping[str, str]) -> list[Finding]:
    found = asked(programs(env))
    npm = shutil.which("npm", path=env.get("PATH", "")) is not None
    return clients.clients(found, env.get("CODEX_BIN"), npm)


def _home(asked: Asked, env: Mapping[str, str]) -> list[Finding]:
    """What hangs on Codex's own home."""
    home = codex_home()
    path = home / "config.toml"
    try:
        known, found = config.config(
            read(path), path, env, listens, lambda word: shutil.which(word) is not None
        )
    except Unread as e:
        section = Section("Config")
        section.fail(f"{path} {e}", "put a plain file there: Codex does not start")
        known, found = config.Config(), section.found
    if known.catalog:
        found += _catalog(home / Path(known.catalog).expanduser(), known.model)
    found += _login(home / "auth.json", known)
    ours = known.loopback if known.provider == PROVIDER else None
    ports = dict.fromkeys([*([ours[1]] if ours else []), asked.port])
    found += network.ports([health(port) for port in ports])
    found += network.proxies(env, known.loopback is not None)
    found += network.certificates(env, lambda file: read(file, _CATALOG))
    return found


def _catalog(path: Path, model: str) -> list[Finding]:
    try:
        return catalog.catalog(read(path, _CATALOG), path, model)
    except Unread as e:
        return catalog.catalog(None, path, model, str(e))


def _login(path: Path, known: config.Config) -> list[Finding]:
    needed = known.entry.get("requires_openai_auth") is True
    try:
        raw = read(path)
        mode = path.stat().st_mode & 0o777 if raw is not None and os.name == "posix" else None
        return login.login(raw, path, mode, needed, time.time())
    except Unread as e:
        section = Section("Login")
        section.fail(f"{path} {e}", "put a plain file there, or delete it and `codex login`")
        return section.found


def _folder(path: Path) -> machine.Folder:
    nearest = path
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    try:
        free: int | None = shutil.disk_usage(nearest).free
    except OSError:
        free = None
    writable = os.access(nearest, os.W_OK | os.X_OK)
    return machine.Folder(path, nearest, nearest.is_dir(), writable, free)
