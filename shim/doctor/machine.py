"""Python, the packages, and the folder that recordings go to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from .finding import Finding, Section

#: The oldest Python that mitmproxy 12 takes.
OLDEST = (3, 12)
_LITTLE, _TOO_LITTLE = 1 << 30, 100 << 20
_SPEC = re.compile(r"(>=|<)\s*(\d+(?:\.\d+)*)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Folder(msgspec.Struct, frozen=True):
    """A folder as it is: ``nearest`` is what of its path is there."""

    path: Path
    nearest: Path
    is_folder: bool
    writable: bool
    free: int | None


def python(version: Sequence[int], executable: str) -> list[Finding]:
    """Whether this Python is one that mitmproxy runs on."""
    section = Section("Python")
    said = ".".join(map(str, version[:3]))
    if tuple(version[:2]) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        section.fail(
            f"Python {said} is older than {wanted}", f"install Python {wanted}, then `make setup`"
        )
    else:
        section.ok(f"Python {said} ({executable})")
    return section.found


def packages(wanted: Sequence[str], installed: Mapping[str, str | None]) -> list[Finding]:
    """Whether what ``wanted`` (``mitmproxy>=12.2,<13``) asks for is there."""
    section = Section("Packages")
    fix = "`make setup` in a checkout, else `pip install --upgrade interpose`"
    for requirement in wanted:
        name = name_of(requirement)
        version = installed.get(name)
        if version is None:
            section.fail(f"{name} is not installed", fix)
        elif bad := [m[0] for m in _SPEC.finditer(requirement) if not _holds(version, m[1], m[2])]:
            section.fail(f"{name} is {version}, and must be {' and '.join(bad)}", fix)
    if not section.found:
        section.ok(f"all {len(wanted)} are there, mitmproxy {installed.get('mitmproxy') or '?'}")
    return section.found


def name_of(requirement: str) -> str:
    """The package that a requirement is about."""
    found = _NAME.match(requirement)
    return found[0] if found else requirement


def _holds(version: str, sign: str, bound: str) -> bool:
    have, want = _numbers(version), _numbers(bound)
    size = max(len(have), len(want))
    have, want = [x + [0] * (size - len(x)) for x in (have, want)]
    return have >= want if sign == ">=" else have < want


def _numbers(version: str) -> list[int]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    return [int(part) for part in found[0].split(".")] if found else [0]


def recordings(folder: Folder) -> list[Finding]:
    """Whether turns can be recorded there."""
    section = Section("Recordings")
    if not folder.is_folder:
        section.fail(
            f"{folder.nearest} is no folder, so nothing is recorded",
            "move it away, or name another folder with `--record DIR`",
        )
        return section.found
    if not folder.writable:
        section.fail(
            f"{folder.nearest} cannot be written to, so nothing is recorded",
            f"make it yours (`chown`, `chmod u+w {folder.nearest}`), or `--record DIR`",
        )
        return section.found
    if folder.free is None:
        section.ok(f"{folder.path} can be written to")
        return section.found
    left = f"{folder.free / (1 << 30):.1f} GB"
    fix = "free some space, or keep less: record_keep_days and record_keep_size (docs/options.md)"
    if folder.free < _TOO_LITTLE:
        section.fail(f"only {folder.free >> 20} MB are left for {folder.path}", fix)
    elif folder.free < _LITTLE:
        section.warn(f"only {left} are left for {folder.path}", fix)
    else:
        section.ok(f"{folder.path} can be written to, {left} free")
    return section.found
