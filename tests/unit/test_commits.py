"""Commits of a small repository: named, checked out beside it, set up, used again, cleared away."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from benchmarks import commits
from benchmarks.systems import Unavailable

#: Stands for the real one: leaves a trace of each time that it was run.
SETUP = '#!/bin/sh\ncd "$(dirname "$0")/.."\nmkdir -p .venv\necho "$PYTHON" >>.venv/runs\n'


def git(root: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(root), *who, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(root: Path, text: str, setup: str | None = SETUP) -> str:
    (root / "addons").mkdir(exist_ok=True)
    (root / "addons" / "main.py").write_text(text)
    if setup:
        (root / "tools").mkdir(exist_ok=True)
        (root / "tools" / "setup").write_text(setup)
        (root / "tools" / "setup").chmod(0o755)
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", text)
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "a checkout"
    root.mkdir()
    git(root, "init", "--quiet")
    (root / ".gitignore").write_text(".bench/\n.venv/\n")
    return root


def test_a_tree_names_its_commit_and_whether_it_was_changed(repository: Path) -> None:
    short = commit(repository, "one")[:12]
    assert commits.made_of(repository) == f"Made of commit `{short}`."
    (repository / "docs.md").write_text("a page that is written")
    assert commits.made_of(repository) == f"Made of commit `{short}`."
    (repository / "addons" / "main.py").write_text("edited")
    assert commits.made_of(repository) == f"Made of commit `{short}`, with changes not committed."


def test_a_tree_without_a_commit_says_so(repository: Path, tmp_path: Path) -> None:
    assert commits.made_of(tmp_path).startswith("Made of no known commit")
    (repository / "unpacked").mkdir()
    commit(repository, "one")
    assert commits.made_of(repository / "unpacked").startswith("Made of no known commit")


def test_names_are_what_git_takes_for_a_commit(repository: Path) -> None:
    first, second = commit(repository, "one"), commit(repository, "two")
    git(repository, "tag", "-a", "-m", "a tag", "v1", first)
    found = {name: commits.resolve(name, repository).commit for name in ("v1", "HEAD", first[:8])}
    assert found == {"v1": first, "HEAD": second, first[:8]: first}
    for name in ("nonsense", "--all", "HEAD~7", ""):
        with pytest.raises(Unavailable, match=f"no commit '{name}' in"):
            commits.resolve(name, repository)


def test_outside_a_repository_the_sentence_is_gits(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="not a git repository"):
        commits.resolve("HEAD", tmp_path)


def test_a_commit_is_set_up_once_and_used_while_unchanged(repository: Path) -> None:
    first = commits.resolve(commit(repository, "one"), repository)
    commit(repository, "two")
    folder = commits.prepare(first, repository)
    assert folder.is_relative_to(repository / ".bench")
    assert (folder / "addons" / "main.py").read_text() == "one"
    # Its own tools/setup decides what is left to do; its environment stays.
    assert commits.prepare(first, repository) == folder
    assert len((folder / ".venv" / "runs").read_text().splitlines()) == 2
    (folder / "addons" / "main.py").write_text("edited there")
    commits.prepare(first, repository)
    assert (folder / "addons" / "main.py").read_text() == "one"
    assert len((folder / ".venv" / "runs").read_text().splitlines()) == 1
    assert git(repository, "status", "--porcelain") == ""


def test_an_environment_of_another_python_is_made_again(repository: Path) -> None:
    first = commits.resolve(commit(repository, "one"), repository)
    folder = commits.prepare(first, repository)
    (folder / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.1.4\n")
    commits.prepare(first, repository)
    assert len((folder / ".venv" / "runs").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("setup", "reason"),
    [
        (None, "it has no tools/setup to make its environment with"),
        ("#!/bin/sh\necho more >&2\necho no Python >&2\nexit 3\n", "setup failed: no Python"),
        ("#!/bin/sh\nexit 3\n", "setup failed: it gave no reason"),
    ],
)
def test_why_a_commit_cannot_be_set_up(repository: Path, setup: str | None, reason: str) -> None:
    revision = commits.resolve(commit(repository, "one", setup), repository)
    with pytest.raises(Unavailable, match=reason):
        commits.prepare(revision, repository)


def test_checkouts_used_long_ago_are_cleared_away(repository: Path) -> None:
    made = [commits.resolve(commit(repository, str(n)), repository) for n in range(7)]
    folders = [commits.prepare(revision, repository) for revision in made]
    commits.prepare(made[0], repository)
    # One that git does not know any more.
    (folders[1] / ".git").unlink()
    os.utime(folders[1], (0, 0))
    commits.trim(1, repository)
    assert [folder.exists() for folder in folders] == [True, False, False, *[True] * 4]
    assert folders[2].name not in git(repository, "worktree", "list")
    # A folder that somebody has deleted is no obstacle.
    subprocess.run(["rm", "-r", str(folders[6])], check=True)
    assert commits.prepare(made[6], repository).exists()
