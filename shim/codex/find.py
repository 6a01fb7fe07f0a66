"""Finds the Codex command line client, or installs a pinned one with npm into a local folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

#: The version that is installed, and that everything is tested with.
PINNED = "0.169.0"

_ROOT = Path(__file__).resolve().parents[2]


class CodexMissing(Exception):
    """Why there is no Codex to run, and how to get one, in one line."""


def cache_folder() -> Path:
    """Where files of this user go that may be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "interpose"


def local_folder() -> Path:
    """Where pinned versions are installed: ``.codex`` in a checkout, else the user's cache."""
    checkout = (_ROOT / "pyproject.toml").is_file()
    return _ROOT / ".codex" if checkout else cache_folder() / "codex"


def installed(version: str = PINNED) -> Path | None:
    """The client of that version in the local folder, or None."""
    return _client(local_folder() / f"codex-{version}")


def codex(say: Callable[[str], None] = lambda line: None) -> Path:
    """A Codex to run: what ``CODEX_BIN`` names, or on PATH, or in the local folder, or installed.

    ``say`` gets one line before something is downloaded. CodexMissing when there is no way.
    """
    named = os.environ.get("CODEX_BIN")
    if named:
        found = shutil.which(named)
        if not found:
            raise CodexMissing(f"CODEX_BIN is {named}, which is not a program that can be run")
        return Path(found)
    on_path = shutil.which("codex")
    if on_path:
        return Path(on_path)
    return installed() or install(PINNED, say)


def install(version: str = PINNED, say: Callable[[str], None] = lambda line: None) -> Path:
    """That version of ``@openai/codex`` from npm, in the local folder; it is kept there.

    CodexMissing when there is no npm or it fails.
    """
    target = local_folder() / f"codex-{version}"
    ready = _client(target)
    if ready:
        return ready
    npm = shutil.which("npm")
    if not npm:
        raise CodexMissing(
            "no codex on PATH and no npm to fetch it with: install Node.js and run"
            f" `npm install -g @openai/codex@{version}`, or `brew install codex`,"
            " or set CODEX_BIN to a codex program"
        )
    say(f"installing @openai/codex@{version} with npm into {target}")
    target.parent.mkdir(parents=True, exist_ok=True)
    # Installed beside and renamed, so that nobody meets half an installation.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{version}.part-") as part:
        fresh = Path(part) / "tree"
        done = subprocess.run(
            [npm, "install", "--prefix", str(fresh), "--no-audit", "--no-fund", "--no-save",
             "--loglevel=error", f"@openai/codex@{version}"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode or not _client(fresh):
            lines = (done.stderr or done.stdout).strip().splitlines()
            why = lines[0] if lines else f"exit code {done.returncode}"
            raise CodexMissing(f"npm could not install @openai/codex@{version}: {why}")
        try:
            fresh.rename(target)
        except OSError:  # someone else was faster
            pass
    ready = _client(target)
    if not ready:
        raise CodexMissing(f"{target} is there but holds no codex; delete it and try again")
    return ready


def _client(folder: Path) -> Path | None:
    # Beside the script for sh, npm puts one that Windows can start.
    name = "codex.cmd" if sys.platform == "win32" else "codex"
    path = folder / "node_modules" / ".bin" / name
    return path if os.access(path, os.X_OK) else None
