"""aimock, an independent mock of the providers' APIs, as the chat upstream of a test."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from tests.e2e.chain import chain_env, free_port, poll
from tests.e2e.clients import aimock_cli


class Aimock:
    """A running aimock with the given fixtures; a context manager. `url` has no /v1."""

    def __init__(self, fixtures: Sequence[dict[str, Any]]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="interpose-aimock-")
        file = Path(self._folder.name) / "fixtures.json"
        file.write_text(json.dumps({"fixtures": list(fixtures)}))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._command = [str(aimock_cli()), "-p", str(port), "-f", str(file), "--strict"]
        self._command += ["--validate-on-load", "--log-level", "warn"]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder.name,
            env=chain_env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        poll(self._answers, 20, "aimock to answer")
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
        self._folder.cleanup()

    def journal(self) -> list[dict[str, Any]]:
        """What it was asked, as it tells it: one object per request."""
        answer = httpx.get(f"{self.url}/__aimock/journal", timeout=5, trust_env=False).json()
        return list(answer if isinstance(answer, list) else answer["entries"])

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"aimock ended with {self._process.returncode}")
        try:
            httpx.get(f"{self.url}/__aimock/journal", timeout=5, trust_env=False)
        except httpx.TransportError:
            return False
        return True
