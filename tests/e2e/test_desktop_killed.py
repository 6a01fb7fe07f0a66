"""`patch-app` and `restore-app` killed between any two steps: what is left is a whole app."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.chain import ROOT
from tests.e2e.electron import ORIGINAL, PATCHED, Mac, backup, does, make_app, tree

DIES = """
import os, shutil, sys
sys.path.insert(0, sys.argv[1])
from shim.cli import main, patch_app, restore_app
from shim.codex import asar, desktop
def dies(module, name, before):
    real = getattr(module, name)
    def call(*args, **options):
        if not before:
            real(*args, **options)
        os.kill(os.getpid(), 9)
    setattr(module, name, call)
dies(*eval(sys.argv[2]))
sys.platform = "darwin"
main(sys.argv[3:])
"""


def killed(step: str, *words: object) -> None:
    run = [sys.executable, "-c", DIES, str(ROOT), step, *map(str, words)]
    done = subprocess.run(run, capture_output=True, timeout=60)
    assert done.returncode == -9, done.stderr


@pytest.mark.full
@pytest.mark.parametrize(
    ("step", "then"),
    [
        ("(shutil, 'copytree', False)", ORIGINAL),
        ("(asar, 'write', False)", ORIGINAL),
        ("(desktop, '_sign', True)", ORIGINAL),
        ("(desktop.json, 'dump', True)", ORIGINAL),
        ("(desktop, '_swap', True)", ORIGINAL),
        ("(desktop, '_swap', False)", PATCHED),
    ],
)
def test_killed_while_it_patches(
    applications: Path, mac: Mac, step: str, then: dict[str, object]
) -> None:
    app = make_app(applications)
    before = tree(app)
    killed(step, "patch-app", app)
    assert does(app) == then
    mac("restore-app", app)  # undone, or told that there is nothing to undo
    assert tree(app) == before and not backup(app).exists()
    killed(step, "patch-app", app)
    assert mac("patch-app", app)[0] == 0
    assert does(app) == PATCHED
    assert mac("restore-app", app)[0] == 0
    assert tree(app) == before and not backup(app).exists()


@pytest.mark.full
@pytest.mark.parametrize(
    ("step", "then"),
    [
        ("(desktop, '_swap', True)", PATCHED),
        ("(desktop, '_swap', False)", ORIGINAL),
        ("(shutil, 'rmtree', True)", ORIGINAL),
    ],
)
def test_killed_while_it_restores(
    applications: Path, mac: Mac, step: str, then: dict[str, object]
) -> None:
    app = make_app(applications)
    before = tree(app)
    assert mac("patch-app", app)[0] == 0
    killed(step, "restore-app", app)
    assert does(app) == then
    assert mac("restore-app", app)[0] == 0
    assert tree(app) == before and not backup(app).exists()


def test_killed_by_codesign_and_patched_again(applications: Path, mac: Mac, codesign: Path) -> None:
    app = make_app(applications)
    codesign.with_suffix(".kills").touch()
    run = [sys.executable, "-c", DIES, str(ROOT), "(os, 'nice', True)", "patch-app", str(app)]
    assert subprocess.run(run, capture_output=True, timeout=60).returncode == -9
    assert does(app) == ORIGINAL
    codesign.with_suffix(".kills").unlink()
    assert mac("patch-app", app)[0] == 0 and does(app) == PATCHED
