"""Commits: which one this tree is, and others checked out beside it, each with an environment
that its own tools/setup makes. They stand in .bench/ and are used again while nothing changed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.systems import ROOT, Unavailable

#: So many checkouts stay, those used last.
_STAY = 5
#: What a benchmark depends on; a page written meanwhile changes nothing.
_MEASURED = ("addons", "shim", "policies", "benchmarks", "requirements.lock", "tools")


@dataclass(frozen=True)
class Revision:
    """A commit by the name it was asked for, and its hash of 40 digits."""

    name: str
    commit: str

    @property
    def short(self) -> str:
        return self.commit[:12]


def _git(*words: str, root: Path) -> str:
    """What git prints; Unavailable with its last line when it fails."""
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True)
    except OSError:
        raise Unavailable("commits are read by git, which is not installed") from None
    if done.returncode:
        raise Unavailable(f"git {words[0]}: {_last(done.stderr)}")
    return done.stdout.strip()


def _last(text: str) -> str:
    return next(reversed(text.strip().splitlines()), "it gave no reason")[:300]


def resolve(name: str, root: Path = ROOT) -> Revision:
    """The commit that ``name`` is for git; Unavailable when there is none."""
    try:
        words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        return Revision(name, _git(*words, root=root))
    except Unavailable:
        # Is it the name, or is there no repository at all?
        _git("rev-parse", "--git-dir", root=root)
    raise Unavailable(f"no commit {name!r} in {root}: name a hash, a branch or a tag that is there")


def made_of(root: Path = ROOT) -> str:
    """A sentence that names the commit of this tree, for the tables made in it."""
    try:
        # A folder that was unpacked inside somebody's repository is not that repository's.
        if _git("rev-parse", "--show-prefix", root=root):
            return "Made of no known commit: this is no git checkout."
        commit = resolve("HEAD", root).short
        changed = _git("status", "--porcelain", "--", *_MEASURED, root=root)
    except Unavailable as e:
        return f"Made of no known commit ({e})."
    return f"Made of commit `{commit}`{', with changes not committed' if changed else ''}."


def prepare(revision: Revision, root: Path = ROOT) -> Path:
    """The folder where ``revision`` is checked out and set up, made when it is not there.

    Unavailable with the reason, a clause, when it cannot be set up.
    """
    kept = root / ".bench"
    folder = kept / revision.short
    if not _unchanged(folder, revision.commit):
        shutil.rmtree(folder, ignore_errors=True)
        kept.mkdir(exist_ok=True)
        # By force, since git remembers a checkout whose folder is gone.
        words = ("worktree", "add", "--quiet", "--force", "--detach")
        _git(*words, str(folder), revision.commit, root=root)
    os.utime(folder)
    # With another Python than this tree's, that would be compared too.
    config = folder / ".venv" / "pyvenv.cfg"
    if config.exists() and f"version = {platform.python_version()}\n" not in config.read_text():
        shutil.rmtree(folder / ".venv")
    setup = folder / "tools" / "setup"
    if not setup.exists():
        raise Unavailable("it has no tools/setup to make its environment with")
    env = {**os.environ, "PYTHON": getattr(sys, "_base_executable", sys.executable)}
    done = subprocess.run([str(setup)], env=env, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"its tools/setup failed: {_last(done.stderr)}")
    return folder


def _unchanged(folder: Path, commit: str) -> bool:
    """Whether ``folder`` is a checkout of ``commit`` in which nobody has edited a file."""
    # Without the file .git, git would answer for the checkout around it.
    if not (folder / ".git").is_file():
        return False
    try:
        if _git("rev-parse", "HEAD", root=folder) != commit:
            return False
        return not _git("status", "--porcelain", "--untracked-files=no", root=folder)
    except Unavailable:
        return False


def trim(used: int, root: Path = ROOT) -> None:
    """Remove the checkouts used longest ago, but for a few and the ``used`` last ones."""
    checkouts = sorted((root / ".bench").iterdir(), key=lambda path: path.stat().st_mtime)
    for folder in checkouts[: -max(_STAY, used)]:
        try:
            _git("worktree", "remove", "--force", str(folder), root=root)
        except Unavailable:
            # Git does not know it, or not any more.
            shutil.rmtree(folder, ignore_errors=True)
