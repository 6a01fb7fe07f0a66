"""The daemon: whether it runs and answers, and who else may read what it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from .finding import Finding, Section


class Daemon(msgspec.Struct, frozen=True):
    """What is known of it. ``pid`` is None when none runs; ``known`` says that one ran before, and
    ``readable`` are its private files that other users may read; ``env_line`` is the first bad line
    of its file env, ``env_unread`` why that cannot be read."""

    known: bool = False
    pid: int | None = None
    port: int = 0
    policy: str = ""
    answers: str = ""
    log: str = ""
    readable: list[Path] = []
    env_line: int = 0
    env_unread: str = ""


def daemon(now: Daemon, enabled: bool) -> list[Finding]:
    """``enabled`` says that Codex is sent through it."""
    section = Section("Daemon")
    if now.pid is not None and now.answers:
        section.ok(f"process {now.pid} on 127.0.0.1:{now.port}, {now.answers}, policy {now.policy}")
    elif now.pid is not None:
        section.fail(
            f"process {now.pid} does not answer on 127.0.0.1:{now.port}",
            f"`interpose restart`; why, says {now.log}",
        )
    elif enabled:
        section.ok("does not run; Codex starts it when it needs it")
    elif now.known:
        section.ok("does not run, and Codex is not sent through it; `interpose enable` does that")
    else:
        section.ok("has never run; `interpose enable` sends Codex through it")
    for path in now.readable:
        section.warn(f"other users may read {path}, which holds keys", f"`chmod 600 {path}`")
    if now.env_unread:
        section.fail(
            f"its file env {now.env_unread}, so the keys in it are not known",
            "put a plain file of yours there",
        )
    if now.env_line:
        section.fail(
            f"line {now.env_line} of its file env is no line NAME=value, so it cannot start",
            "correct that line",
        )
    return section.found


def environment(text: str, env: Mapping[str, str]) -> tuple[dict[str, str], int]:
    """``env`` with what the daemon's own file adds, and the number of its first bad line, or 0."""
    found, bad = dict(env), 0
    for number, line in enumerate(text.splitlines(), 1):
        name, sign, value = line.strip().partition("=")
        if not name or name.startswith("#"):
            continue
        if sign and name.isidentifier():
            found.setdefault(name, value.strip("'\""))
        else:
            bad = bad or number
    return found, bad
