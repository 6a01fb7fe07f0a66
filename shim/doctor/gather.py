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
from ..codex.where import codex_home
from ..daemon.files import Files
from ..policy.load import Report, examine
from ..policy.read import Problem
from ..record.folder import default_folder
from . import catalog, clients, config, login, machine, network, policies
from .daemon import Daemon, daemon, environment
from .finding import Finding, Section, Unread, read
from .programs import asked, programs
from .sockets import health, listens

#: Seconds for a group of sections.
PATIENCE = 5.0
#: Where `interpose serve` listens.
USUAL_PORT = 8080
_CATALOG, _POLICY = 16 << 20, 4 << 20
_ROOT = Path(__file__).resolve().parents[2]
ORDER = (
    "Python", "Packages", "Codex", "Config", "Catalog", "Daemon", "Port", "Login", "Proxies",
    "Certificates", "Policy", "Recordings", "Providers",
)  # fmt: skip


class Asked(msgspec.Struct, frozen=True):
    """What the user asks about; what is None is as the daemon has it, or would have."""

    policy: Path
    record_dir: Path
    port: int | None
    env: dict[str, str]
    daemon: Daemon


def settle(
    policy: str | None,
    record: str | None,
    port: int | None,
    env: Mapping[str, str],
    usual: Path,
) -> Asked:
    """What is asked about: what the command line says, else the daemon's, else the ``usual``."""
    files = Files()
    kept = files.settings()
    now, more = _daemon(files, env)
    named = policy or now.policy or (kept.policy if kept else env.get("INTERPOSE_POLICY"))
    folder = record or (kept.record_dir if kept else "") or str(default_folder())
    return Asked(
        policy=Path(str(named or usual)).expanduser().absolute(),
        record_dir=Path(str(folder)).expanduser().absolute(),
        port=port,
        env=more,
        daemon=now,
    )


def _daemon(files: Files, env: Mapping[str, str]) -> tuple[Daemon, dict[str, str]]:
    """The daemon, and the environment it has; asking for its lock would make the folder."""
    if not files.alive.path.exists():
        return Daemon(), dict(env)
    try:
        raw = read(files.environment)
    except Unread:
        raw = None
    more, bad = environment((raw or b"").decode("utf-8", "replace"), env)
    who = files.who()
    number, port = who.get("pid"), who.get("port")
    private = [files.environment, files.folder / "client-key"] if os.name == "posix" else []
    return Daemon(
        known=True,
        pid=number if isinstance(number, int) else None,
        port=port if isinstance(port, int) else 0,
        policy=str(who.get("policy") or ""),
        answers=_word(port) if isinstance(port, int) else "",
        log=str(files.log),
        readable=[p for p in private if p.is_file() and p.stat().st_mode & 0o077],
        env_line=bad,
    ), more


def gather(asked: Asked) -> list[Finding]:
    """All findings that need no network, in the order of the sections."""
    env = asked.env
    groups: dict[str, Callable[[], list[Finding]]] = {
        "Python": lambda: _python(),
        "Codex": lambda: _clients(env),
        "Config": lambda: _home(asked, env),
        "Policy": lambda: policies.policies(report(asked.policy, env), asked.policy, env),
        "Recordings": lambda: machine.recordings(_folder(asked.record_dir)),
    }
    found = _in_time(groups, PATIENCE)
    return sorted(found, key=lambda finding: ORDER.index(finding.section))


def _word(port: int) -> str:
    """How the chain on that port says it is; empty when it says nothing."""
    page = network.page(health(port).raw) or {}
    return str(page.get("status") or "")


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
    found += daemon(asked.daemon, known.enabled)
    ours = known.loopback if known.provider == PROVIDER else None
    ports = {place for place in (ours and ours[1], asked.daemon.port, asked.port) if place}
    answers = [health(port) for port in sorted(ports) or [USUAL_PORT]]
    found += network.ports(answers, ours and ours[1])
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
