"""The wheel: everything under `interpose`, nothing global, and it works without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.e2e.chain import ROOT
from tests.e2e.clients import codex_binary

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # Hatchling is in the lock, so nothing is fetched.
    words = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", *words, str(ROOT)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("interpose-*.whl")
    return path


def test_nothing_lies_outside_interpose(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"interpose"}
    for name in (
        "interpose/addons/main.py",
        "interpose/shim/cli/__init__.py",
        "interpose/shim/codex/instructions.md",
        "interpose/policies/default.yaml",
        "interpose/shim/live/picker.html",
        "interpose/shim/live/sign_in.html",
    ):
        assert name in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.endswith((".pyc", ".flow"))]


def test_pytest_finds_the_plugin(wheel: Path, tmp_path: Path) -> None:
    words = [
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(tmp_path / "site"),
        str(wheel),
    ]
    subprocess.run([sys.executable, "-m", *words], check=True, timeout=120)
    flows = ROOT / "flows" / "apply-patch.flow"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--interpose-flows",
            str(flows),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_the_installed_command_runs_a_session(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    words = ["pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run([sys.executable, "-m", *words], check=True, timeout=120)
    env = {
        **os.environ,
        "PYTHONPATH": str(site),
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "CODEX_BIN": str(codex_binary()),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }

    def interpose(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(site / "bin" / "interpose"), *words],
            cwd=tmp_path, env=env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    assert interpose("--help").returncode == 0
    for shortcut in ("codex-app", "codex-model"):
        words = [str(site / "bin" / shortcut), "--help"]
        said = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60).stdout
        assert f"usage: interpose {shortcut.removeprefix('codex-')}" in said
    done = interpose("run", "--", "exec", "--json", "--skip-git-repo-check", "hello")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "demo model" in done.stdout
    assert list((tmp_path / "state" / "interpose" / "flows").glob("*.flow"))
