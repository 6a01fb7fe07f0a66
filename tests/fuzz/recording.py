"""The recorder in the process of the test: all that passes its pipes, without its process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import msgspec

from addons.jobs import Job, Receiver, Sender
from addons.recorder import Recorder, Settings


class _Told(Recorder):
    """Says what it has to say to ``told``."""

    told: Callable[[dict[str, str]], None]

    def _say(self, **said: str) -> None:
        self.told(said)


class InProcess:
    """What `addons.link.Link` is to the chain."""

    def __init__(self, settings: Settings, told: Callable[[dict[str, str]], None]) -> None:
        read, self._begins = os.pipe()
        self._read = read
        self._said: dict[str, str] = {}
        self._told = told
        self._sender, self._pipe = Sender(), BytesIO()
        self._receiver = Receiver(self._pipe)
        self._recorder = _Told(msgspec.structs.replace(settings, begun=read))
        self._recorder.told = self._hear
        self.failed = False

    @classmethod
    async def start(cls, settings: Settings, told: Callable[[dict[str, str]], None]) -> InProcess:
        return cls(settings, told)

    def _hear(self, said: dict[str, str]) -> None:
        self._said |= said
        self._told(said)

    def begin(self, line: bytes) -> None:
        os.write(self._begins, line)
        self._recorder._note([])

    async def confirm(self, id: str, line: bytes) -> str:
        self.begin(line)
        return self._said.get("why", "")

    async def send(self, jobs: Sequence[Job]) -> str | None:
        at = self._pipe.tell()
        for piece in self._sender.frame(jobs):
            self._pipe.write(piece)
        self._pipe.seek(at)
        self._recorder.ends(self._receiver.jobs())
        return self._said["job"]

    async def close(self) -> None:
        self._recorder.hurry()
        self._recorder.close()
        os.close(self._begins)
        os.close(self._read)

    def kill(self) -> None: ...


def replace_link(patch: Any) -> None:
    """Have the chain's writers use it, as long as ``patch`` lasts."""
    patch.setattr("addons.writer.Link", InProcess)
