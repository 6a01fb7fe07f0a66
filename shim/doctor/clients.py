"""Which Codex clients there are, and which of them runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from ..codex.find import PINNED
from .finding import Finding, Section

#: The oldest version that was tested.
OLDEST = "0.133.0"
Place = Literal["CODEX_BIN", "PATH", "pinned"]
_VERSION = re.compile(r"\b(\d{1,6})\.(\d{1,6})\.(\d{1,6})(-[\w.]+)?")


class Client(msgspec.Struct, frozen=True):
    """A `codex` program: ``said`` is what ``--version`` printed, ``problem`` why it did not."""

    path: Path
    place: Place
    said: str = ""
    problem: str = ""


def clients(found: Sequence[Client], codex_bin: str | None, npm: bool) -> list[Finding]:
    """``found`` in the order in which they are looked for."""
    section = Section("Codex")
    if codex_bin and not any(c.place == "CODEX_BIN" for c in found):
        section.fail(
            "CODEX_BIN names no program that can be run", "`unset CODEX_BIN`, or name another"
        )
    versions = {c.path: _version(c.said) for c in found}
    for client in found:
        where = f"{client.path} ({client.place})"
        version = versions[client.path]
        if client.problem or version is None:
            why = client.problem or "says no version"
            section.warn(f"{where} {why}", f"`npm install -g @openai/codex@{PINNED}`, or remove it")
        elif version < _known(OLDEST):
            section.warn(
                f"{where} is {_text(version)}, older than all that was tested ({OLDEST})",
                f"`npm install -g @openai/codex@{PINNED}`",
            )
        else:
            newer = ", newer than all that was tested" if version > _known(PINNED) else ""
            section.ok(f"{where} is {_text(version)}{newer}")
    on_path = [c for c in found if c.place == "PATH"]
    if len({versions[c.path] for c in on_path}) > 1:
        section.warn(
            f"several versions are on PATH; {on_path[0].path} is the one that runs",
            "remove the others, or set CODEX_BIN",
        )
    if not found:
        if npm:
            section.warn(
                "there is no codex", f"`npm install -g @openai/codex@{PINNED}`, or `interpose run`"
            )
        else:
            section.fail(
                "there is no codex, and no npm to install it with",
                f"install Node.js, then `npm install -g @openai/codex@{PINNED}`",
            )
    return section.found


def _version(said: str) -> tuple[int, ...] | None:
    found = _VERSION.search(said)
    return tuple(int(found[n]) for n in (1, 2, 3)) if found else None


def _known(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
