"""Programs a test needs and Debian has: found, or installed where everything is to be tested."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
#: Set by ``make test-full``: what is missing is installed, and a test fails where it cannot be.
ALL = os.environ.get("INTERPOSE_TEST_ALL") == "1"


def found(*names: str) -> str | None:
    """The first of ``names`` that is on this machine, installed from Debian's package of the first
    name in `ALL` tests; None without one."""
    made = next((path for name in names if (path := shutil.which(name, path=_PATH))), None)
    return made or (program(names[0]) if ALL else None)


@cache
def program(name: str) -> str:
    """``name``, installed from Debian where it is missing; it fails where it cannot be."""
    if not shutil.which(name, path=_PATH):
        install(name)
    made = shutil.which(name, path=_PATH)
    assert made, f"{name} was installed and is not on PATH"
    return made


@cache
def install(package: str) -> None:
    """Install Debian's ``package``; it fails where it cannot be."""
    with Path(tempfile.gettempdir(), "interpose-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        words = ["apt-get", "install", "-y", "--no-install-recommends", package]
        done = None
        for command in (words, ["apt-get", "update"], words):
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
            if command is words and done.returncode == 0:
                break
        assert done and done.returncode == 0, f"{package} cannot be installed: {done}"
