"""deploy/install.sh on an empty home: from the checkout, from a wheel, again, and away."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.chain import ROOT, free_port

TOOLS = ["sh", "cat", "dirname", "uname", "readlink", "mkdir", "mktemp", "rm", "rmdir", "ln", "cp"]
SCRIPT = ROOT / "deploy" / "install.sh"


class Home:
    """A home with nothing in it, and a place for pretended programs."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "a home"
        self.bin = folder / "bin"
        self.path.mkdir()
        self.bin.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found
            (self.bin / tool).symlink_to(found)
        self.env = {"HOME": str(self.path), "PATH": str(self.bin), "PYENV_ROOT": "/nowhere"}

    @property
    def venv(self) -> Path:
        return self.path / ".local" / "share" / "interpose" / "venv"

    @property
    def link(self) -> Path:
        return self.path / ".local" / "bin" / "interpose"

    def install(
        self, *words: str, script: Path = SCRIPT, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", str(script), *words],
            env={**self.env, **env}, cwd=self.path, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.path)) for path in self.path.rglob("*"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def fails(done: subprocess.CompletedProcess[str], text: str) -> None:
    assert done.returncode == 1 and text in done.stderr, done.stdout + done.stderr
    assert done.stderr.startswith("install: ") and done.stderr.count("\n") == 1


@pytest.mark.skipif(os.path.exists("/opt/homebrew/bin/python3"), reason="one is always found")
def test_what_is_missing_is_said(home: Home) -> None:
    fails(home.install(), "no Python >= 3.12 with venv found, and no uv to fetch one; install one")
    fails(home.install("/nowhere", PYTHON=sys.executable), "/nowhere is no checkout of Interpose")
    fails(home.install("x.whl", PYTHON=sys.executable), "there is no file x.whl")
    fails(home.install("https://host.example/x.whl"), "needs --sha256")
    fails(home.install("https://host.example/x"), "is not the address of a wheel")
    fails(home.install("--sha256", "00"), "--sha256 is for a wheel")
    piped = subprocess.run(
        ["/bin/sh"], input=SCRIPT.read_text(), env={**home.env, "PYTHON": sys.executable},
        cwd=home.path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    fails(piped, "nothing is published yet")
    assert home.install("--what").returncode == 2
    del home.env["HOME"]
    fails(home.install(PYTHON=sys.executable), "HOME is not set")
    assert home.files() == []


def test_a_dry_run_says_all_and_does_nothing(home: Home) -> None:
    done = home.install("--dry-run", PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(line.startswith("would run: ") for line in lines) and len(lines) == 6
    assert f"--require-hashes -r {ROOT}/deploy/requirements.lock" in done.stdout
    assert f"'{home.venv}'" in lines[1] and lines[-1].endswith(f"'{home.link}'")
    assert home.files() == []


@pytest.mark.skipif(os.path.exists("/opt/homebrew/bin/python3"), reason="one is always found")
def test_uv_brings_a_python_where_there_is_none(home: Home) -> None:
    uv = home.bin / "uv"
    uv.write_text("#!/bin/sh\nexit 1\n")
    uv.chmod(0o755)
    done = home.install("--dry-run")
    assert f"would run: uv venv --quiet --seed --clear --python 3.12 '{home.venv}'" in done.stdout
    fails(home.install(), "uv could not make a virtual environment")
    assert not home.venv.exists()


def test_what_somebody_else_has_put_there_stays(home: Home) -> None:
    home.link.parent.mkdir(parents=True)
    home.link.write_text("mine")
    fails(home.install(PYTHON=sys.executable), "was not made by this script")
    home.link.unlink()
    home.venv.mkdir(parents=True)
    (home.venv / "mine").touch()
    fails(home.install(PYTHON=sys.executable), "is no virtual environment")
    assert "nothing is installed" in home.install("--uninstall").stderr
    assert (home.venv / "mine").exists()


@pytest.mark.full
def test_half_an_installation_is_taken_back(home: Home) -> None:
    """A Python whose pip finds nothing: as without a network."""
    done = home.install(PYTHON=sys.executable, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(home.path))
    assert done.returncode == 1
    assert done.stderr.endswith("(its own message is above).\n")
    assert not home.venv.exists() and not home.link.exists()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address where its files are."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *args: None  # type: ignore[attr-defined]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.full
def test_it_comes_and_goes(home: Home, served: tuple[Path, str]) -> None:
    names = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "SSL_")
    home.env |= {k: v for k, v in os.environ.items() if k.upper().startswith(names)}
    home.env |= {"PYTHON": sys.executable, "PIP_CACHE_DIR": str(Path.home() / ".cache" / "pip")}
    home.env |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    done = home.install()
    assert done.returncode == 0, done.stderr
    assert f"interpose 0.1.0 in {home.venv}" in done.stderr and "is not on PATH" in done.stderr

    def interpose(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(home.link), *words], cwd=home.path, env=home.env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    assert "mypy" not in [path.name for path in home.venv.rglob("site-packages/*")]
    assert interpose("status").stdout.startswith("daemon  does not run")

    # A wheel from an address: only with its hash; then it takes the place of the other.
    folder, url = served
    words = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([sys.executable, "-m", *words, str(ROOT)], check=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    address = f"{url}/{wheel.name}"
    fails(home.install(address, "--sha256", "0" * 64), "is not what --sha256 says")
    assert interpose("--version").returncode == 0
    (home.venv / "bin" / "interpose").unlink()
    alone = home.path / "install.sh"
    shutil.copy(SCRIPT, alone)
    hash = hashlib.sha256(wheel.read_bytes()).hexdigest()
    done = home.install(address, "--sha256", hash, script=alone)
    assert done.returncode == 0, done.stderr
    alone.unlink()

    # Codex as it was, no daemon, no file.
    config = home.path / ".codex" / "config.toml"
    config.parent.mkdir()
    config.write_text('model = "mine"\n')
    done = interpose("start", "--port", str(free_port()), "--no-record")
    assert done.returncode == 0, done.stderr
    assert interpose("enable", "--model", "demo").returncode == 0
    assert str(home.venv / "bin" / "interpose") in config.read_text()
    done = home.install("--uninstall")
    assert done.returncode == 0, done.stderr
    assert config.read_text() == 'model = "mine"\n'
    left = [name for name in home.files() if (home.path / name).is_file()]
    assert left == [".codex/config.toml"]
    assert home.install("--uninstall").returncode == 0
