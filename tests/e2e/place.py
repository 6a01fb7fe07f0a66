"""A machine with nothing on it, on which the `interpose` command is run."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.chain import ROOT, poll

LAUNCH = "import sys; sys.path[0] = sys.argv.pop(1); from shim.cli import main; sys.exit(main())"


@dataclass
class Place:
    """A machine with nothing on it: home, cache and temporary folder are empty."""

    folder: Path
    env: dict[str, str]

    @property
    def codex_home(self) -> Path:
        return self.folder / "home" / ".codex"

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-c", LAUNCH, str(ROOT), *words]

    def run(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            cwd=cwd or self.folder / "work", env=self.env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def start(self, *words: str, output: Path) -> subprocess.Popen[bytes]:
        with output.open("wb") as file:
            return subprocess.Popen(
                self.command(*words),
                cwd=self.folder / "work", env=self.env, stdin=subprocess.DEVNULL,
                stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def processes(self) -> dict[int, str]:
        """The processes that were started from this place, told by their home: command lines."""
        mark = f"HOME={self.env['HOME']}".encode()
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(entry.name)] = line.decode(errors="replace")
            except OSError:
                continue
        return found

    def assert_clean(self) -> None:
        if Path("/proc/self/environ").exists():
            poll(lambda: not self.processes(), 10, f"the end of {self.processes()}")
        assert list((self.folder / "tmp").glob("interpose*")) == []
        assert list((self.folder / "cache" / "interpose" / "homes").glob("*")) == []
        assert not self.codex_home.exists()
