"""A check that raises is a failed line of the report, and never the report's end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from ..codex.login import LoginError
from ..codex.where import PlaceError
from ..policy.load import MissingVariable
from .finding import Finding, Section, Unread

Check = Callable[[], list[Finding]]


def unseen(name: str, e: Exception) -> list[Finding]:
    """The finding of the section ``name`` that could not be looked at, and why."""
    section = Section(name)
    if isinstance(e, PlaceError | LoginError | Unread):
        section.fail(f"could not be looked at: {e}", "set that right, then look again")
    elif isinstance(e, MissingVariable):
        sentence = f"could not be looked at: the variable {e.name} is not set"
        section.fail(sentence, f"export {e.name} where the chain runs")
    elif isinstance(e, OSError):
        why = e.strerror or str(e) or type(e).__name__
        at = f"{e.filename}: " if e.filename else ""
        section.fail(
            f"could not be looked at: {at}{why}", "see whether it is there, and yours to read"
        )
    else:
        section.fail(
            f"could not be looked at: {type(e).__name__}: {e}",
            "this is a fault of Interpose: report it with this line",
        )
    return section.found


def guarded(name: str, check: Check) -> list[Finding]:
    """What ``check`` finds for the section ``name``."""
    try:
        return check()
    except Exception as e:
        return unseen(name, e)


def in_time(checks: Mapping[str, Check], patience: float) -> list[Finding]:
    """What the checks find, each in a thread of its own, within ``patience`` seconds: a file system
    or a program that hangs costs its own section only."""
    done: dict[str, list[Finding]] = {}

    def work(name: str, check: Check) -> None:
        done[name] = guarded(name, check)

    # Daemons: one that hangs must not keep the process.
    threads = [
        threading.Thread(target=work, args=(name, check), daemon=True)
        for name, check in checks.items()
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    findings: list[Finding] = []
    for name in checks:
        if name not in done:
            section = Section(name)
            section.warn(
                f"could not be looked at within {patience:g} s",
                "see whether a file system or a program it needs hangs",
            )
            done[name] = section.found
        findings += done[name]
    return findings
