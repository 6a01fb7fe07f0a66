"""A chain with agents behind it, and what is left of them."""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from zlib import compress, crc32

import httpx

from tests.e2e.chain import ROOT, Chain
from tests.e2e.clients import codex_binary

STAND_IN = ROOT / "tests" / "e2e" / "stand_in.py"


class Agents(Chain):
    """A chain whose ``folder`` holds all that its agents keep; started again, it knows them."""

    def __init__(
        self, folder: Path, policy: str, env: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        self.place = folder
        for name in ("home", "tmp", "state", "bin"):
            (folder / name).mkdir(exist_ok=True)
        path = folder / "bin" / "cursor-agent"
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{STAND_IN}" "$@"\n')
        path.chmod(0o755)
        binaries = [str(path.parent), str(codex_binary().parent), os.environ["PATH"]]
        here = {
            "HOME": str(folder / "home"),
            "CODEX_HOME": str(folder / "codex-home"),
            "INTERPOSE_HOME": str(folder / "interpose"),
            "TMPDIR": str(folder / "tmp"),
            "STATE": str(folder / "state"),
            "PATH": ":".join(binaries),
            # A client's background calls end here instead of on the internet.
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        options = {"record_dir": str(folder / "flows"), **more.pop("options", {})}
        super().__init__(policy=policy, env={**here, **(env or {})}, options=options, **more)

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def ask(self, text: Any, model: str = "cursor", **more: Any) -> httpx.Response:
        """One turn over Chat; ``headers`` and ``timeout`` are the request's, more its fields."""
        asks = {name: more.pop(name) for name in ("headers", "timeout") if name in more}
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        return httpx.post(
            f"{self.url}/chat/completions", json=body, trust_env=False, **{"timeout": 60, **asks}
        )

    def said(self, text: Any, model: str = "cursor", **more: Any) -> str:
        """The answer's text."""
        answer = self.ask(text, model, **more)
        assert answer.status_code == 200, answer.text + self.log()
        return str(answer.json()["choices"][0]["message"]["content"])

    def refused(self, text: Any, model: str = "cursor", **more: Any) -> tuple[int, str]:
        """The status and the sentence."""
        answer = self.ask(text, model, **more)
        assert answer.status_code >= 400, answer.text
        return answer.status_code, str(answer.json()["error"]["message"])

    def models(self) -> set[str]:
        return {model["id"] for model in self.get("/v1/models").json()["data"]}

    def notes(self) -> list[dict[str, Any]]:
        """What the stand-in has noted."""
        path = self.place / "state" / "log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def processes(self) -> list[int]:
        """What runs with this folder's variables, besides the chain itself."""
        mark, found = f"STATE={self.place / 'state'}".encode(), []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    words = (entry / "cmdline").read_bytes()
                    if words and str(ROOT / "addons").encode() not in words:
                        found.append(int(entry.name))
            except OSError:
                continue
        return found

    def leftovers(self) -> list[str]:
        """Files of turns that nobody has taken away."""
        folder = self.place / "tmp"
        return [str(p) for p in folder.glob("interpose-agents-*/turn-*")]


def png(width: int, height: int) -> bytes:
    """A PNG that says it has that size; a small one has."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))

    small = max(width, height) < 99
    rows = (b"\0" + b"\xc0\x20\x20" * width) * height if small else b""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (b"IHDR", head), (b"IDAT", compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
