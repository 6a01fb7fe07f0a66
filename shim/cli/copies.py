"""Copies of a git repository as it was committed: one for each run that shall change it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import UsageError, UserError

#: Where git's own hooks and aliases say which repository is meant; the copies are others.
_LOCAL = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_PREFIX",
    "GIT_NAMESPACE",
)


@dataclass(frozen=True)
class Source:
    """What is copied. ``root`` holds the repository, ``inside`` is the folder in it that was
    meant ("" for the root), ``changes`` counts the files that differ from the commit."""

    root: Path
    inside: str
    changes: int


def look(folder: Path) -> Source:
    """The repository ``folder`` is in. UsageError where there is none to copy."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder")
    done = _git(folder, "rev-parse", "--show-toplevel")
    if done.returncode or not done.stdout.strip():
        raise UsageError(
            f"{folder} is not in a git repository, of which every run gets a copy;"
            " --repo DIR names another folder"
        )
    root = Path(done.stdout.rstrip("\n"))
    if _git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").returncode:
        raise UsageError(
            f"the git repository {root} has no commit yet, so there is nothing to copy"
        )
    inside = _git(folder, "rev-parse", "--show-prefix").stdout.strip().rstrip("/")
    if inside and _git(root, "cat-file", "-e", f"HEAD:{inside}").returncode:
        raise UsageError(f"{inside} is not in the last commit of {root}, of which copies are made")
    changes = _git(root, "status", "--porcelain").stdout.splitlines()
    return Source(root, inside, len(changes))


def copy(source: Path, target: Path) -> Path:
    """A clone of ``source`` as it is committed, which knows no way back to it. UserError."""
    _must(
        source,
        "clone",
        "--quiet",
        "--local",
        "--no-recurse-submodules",
        "--",
        str(source),
        str(target),
    )
    # What the agent does in its copy, a push included, must reach nothing of the user's.
    _must(target, "remote", "remove", "origin")
    return target


def commit_of(repo: Path) -> str:
    """The id of the commit that is checked out there."""
    return _must(repo, "rev-parse", "HEAD").strip()


def environment(whole: Mapping[str, str]) -> dict[str, str]:
    """That environment, without what names one git repository to whoever is started in it."""
    return {name: value for name, value in whole.items() if name not in _LOCAL}


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *words],
            env=environment(os.environ), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise UserError("git was not found on PATH; every run gets a copy made by it") from None


def _must(folder: Path, *words: str) -> str:
    done = _git(folder, *words)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise UserError(f"git {words[0]} failed: {said[-1] if said else 'it gave no reason'}")
    return done.stdout
