"""Reads this machine for the doctor: files, programs, ports, the environment. Nothing is changed.

Each group of sections has a thread of its own and a deadline, and each check a guard: what hangs or
raises costs its own section only.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import msgspec

from ..codex.config import PROVIDER
from ..codex.where import PlaceError, codex_home
from ..daemon.files import Files
from ..daemon.own_key import named_key
from ..daemon.use import current_model
from ..policy.load import Report, examine
from ..policy.read import Problem
from ..policy.schema import Policy
from ..record.folder import default_folder
from ..route.switch import Switched
from . import catalog, clients, config, guard, login, machine, network, policies
from .daemon import Daemon, daemon, environment
from .finding import Finding, Section, Unread, read
from .programs import asked, programs
from .sockets import health, listens

#: Seconds for a group of sections.
PATIENCE = 5.0
#: Where `interpose serve` listens.
USUAL_PORT = 8080
_CATALOG, _POLICY = 16 << 20, 4 << 20
_T = TypeVar("_T")
_ROOT = Path(__file__).resolve().parents[2]
ORDER = (
    "Python", "Packages", "Codex", "Config", "Catalog", "Daemon", "Port", "Login", "Proxies",
    "Certificates", "Policy", "Recordings", "Providers",
)  # fmt: skip


class Asked(msgspec.Struct, frozen=True):
    """What the user asks about; what is None is as the daemon has it, or would have. ``unseen`` are
    the findings of sections that could not even be begun with."""

    policy: Path
    record_dir: Path
    port: int | None
    env: dict[str, str]
    daemon: Daemon
    unseen: list[Finding] = []


class Gathered(msgspec.Struct, frozen=True):
    """All findings that need no network, and the policy, where one can be used."""

    findings: list[Finding]
    policy: Policy | None = None


def settle(
    policy: str | None,
    record: str | None,
    port: int | None,
    env: Mapping[str, str],
    usual: Path,
) -> Asked:
    """What is asked about: what the command line says, else the daemon's, else the ``usual``."""
    unseen: list[Finding] = []

    def attempt(section: str, look: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return look()
        except Exception as e:
            unseen.extend(guard.unseen(section, e))
            return otherwise

    files = attempt("Daemon", Files, None)
    now, more, kept = Daemon(), dict(env), None
    if files:
        now, more = attempt("Daemon", lambda: _daemon(files, env), (now, more))
        kept = attempt("Daemon", files.settings, None)
    named = policy or now.policy or (kept.policy if kept else env.get("INTERPOSE_POLICY"))
    folder = record or (kept.record_dir if kept else "")
    folder = folder or attempt("Recordings", lambda: str(default_folder()), "")
    return Asked(
        policy=attempt("Policy", lambda: _path(named or usual), Path(str(named or usual))),
        record_dir=attempt("Recordings", lambda: _path(str(folder)), Path(str(folder))),
        port=port,
        env=more,
        daemon=now,
        unseen=unseen,
    )


def _path(named: str | Path) -> Path:
    try:
        return Path(named).expanduser().absolute()
    except RuntimeError:
        raise PlaceError(f"there is no home folder for {named}; set HOME") from None


def _daemon(files: Files, env: Mapping[str, str]) -> tuple[Daemon, dict[str, str]]:
    """The daemon, and the environment it has; asking for its lock would make the folder."""
    if not files.alive.path.exists():
        return Daemon(), dict(env)
    raw, unread = b"", ""
    try:
        raw = read(files.environment) or b""
    except Unread as e:
        unread = str(e)
    more, bad = environment(raw.decode("utf-8", "replace"), env)
    who = files.who()
    number, port = who.get("pid"), who.get("port")
    private = [files.environment, files.folder / "client-key"] if os.name == "posix" else []
    return Daemon(
        known=True,
        pid=number if isinstance(number, int) else None,
        port=port if isinstance(port, int) else 0,
        policy=str(who.get("policy") or ""),
        answers=_word(port, files.kept_key()) if isinstance(port, int) else "",
        log=str(files.log),
        readable=[p for p in private if p.is_file() and p.stat().st_mode & 0o077],
        env_line=bad,
        env_unread=unread,
    ), more


def gather(asked: Asked) -> Gathered:
    """All findings that need no network, in the order of the sections."""
    env = asked.env
    policy: list[Policy] = []
    begun = {finding.section for finding in asked.unseen}
    groups: dict[str, Callable[[], list[Finding]]] = {
        "Python": _python,
        "Packages": _packages,
        "Codex": lambda: _clients(env),
        "Config": lambda: _home(asked),
        "Policy": lambda: _policy(asked, policy),
        "Recordings": lambda: machine.recordings(_folder(asked.record_dir)),
    }
    groups = {name: check for name, check in groups.items() if name not in begun}
    findings = asked.unseen + guard.in_time(groups, PATIENCE)
    findings.sort(key=lambda finding: ORDER.index(finding.section))
    return Gathered(findings, next(iter(policy), None))


def _word(port: int, key: str) -> str:
    """How the chain on that port says it is; empty when it says nothing."""
    page = network.page(health(port, key).raw) or {}
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


def _policy(asked: Asked, usable: list[Policy]) -> list[Finding]:
    """What there is to say about the policy; one that can be used goes to ``usable``."""
    about = report(asked.policy, asked.env)
    if about.policy is not None:
        usable.append(about.policy)
    return policies.policies(about, asked.policy, asked.env, _used())


def _used() -> str:
    """The model that Codex asks Interpose for, else the one that was switched to."""
    try:
        path = codex_home() / "config.toml"
        if model := current_model(read(path) or b"", str(path)):
            return model
        return msgspec.json.decode(read(Files().switched) or b"", type=Switched).model
    except Exception:
        # What cannot be read is told of in its own section.
        return ""


def _python() -> list[Finding]:
    return machine.python(sys.version_info[:3], sys.executable)


def _packages() -> list[Finding]:
    wanted = _wanted()
    names = [machine.name_of(requirement) for requirement in wanted]
    return machine.packages(wanted, {name: _installed(name) for name in names})


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


def _home(asked: Asked) -> list[Finding]:
    """What hangs on Codex's own home, and what on its config."""
    env = asked.env
    known = config.Config()

    def of_config() -> list[Finding]:
        nonlocal known
        known, findings = _config(codex_home() / "config.toml", env)
        return findings

    def of_ports() -> list[Finding]:
        ours = known.loopback if known.provider == PROVIDER else None
        ports = {place for place in (ours and ours[1], asked.daemon.port, asked.port) if place}
        daemons, other = asked.daemon.port, named_key(env)
        answers = [
            health(port, Files().kept_key() if port == daemons else other)
            for port in sorted(ports) or [USUAL_PORT]
        ]
        return network.ports(answers, ours and ours[1])

    checks: dict[str, Callable[[], list[Finding]]] = {
        "Config": of_config,
        "Catalog": lambda: _catalog(known),
        "Daemon": lambda: daemon(asked.daemon, known.enabled),
        "Port": of_ports,
        "Login": lambda: _login(codex_home() / "auth.json", known),
        "Proxies": lambda: network.proxies(env, known.loopback is not None),
        "Certificates": lambda: network.certificates(env, lambda file: read(file, _CATALOG)),
    }
    begun = {finding.section for finding in asked.unseen}
    rest = ((name, check) for name, check in checks.items() if name not in begun)
    return [finding for name, check in rest for finding in guard.guarded(name, check)]


def _config(path: Path, env: Mapping[str, str]) -> tuple[config.Config, list[Finding]]:
    try:
        return config.config(
            read(path), path, env, listens, lambda word: shutil.which(word) is not None
        )
    except Unread as e:
        section = Section("Config")
        section.fail(f"{path} {e}", "put a plain file there: Codex does not start")
        return config.Config(), section.found


def _catalog(known: config.Config) -> list[Finding]:
    if not known.catalog:
        return []
    path = codex_home() / _path_of(known.catalog)
    try:
        return catalog.catalog(read(path, _CATALOG), path, known.model)
    except Unread as e:
        return catalog.catalog(None, path, known.model, str(e))


def _path_of(named: str) -> Path:
    try:
        return Path(named).expanduser()
    except RuntimeError:
        return Path(named)


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
