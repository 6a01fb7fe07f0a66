"""The recorder process as the proxy sees it: what it is sent, and what it answers."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Self

import msgspec

from addons import recorder

_PIPE = 1024 * 1024
_PATIENCE = 30.0


class Link:
    """One recorder. ``told`` hears each of its answers, ``failed`` is set once it has ended."""

    def __init__(self, told: Callable[[dict[str, str]], None]) -> None:
        self._told = told
        self._process: asyncio.subprocess.Process | None = None
        self._begun = self._ended = -1
        #: What the pipe has no room for.
        self._backlog: deque[bytes] = deque()
        self._writes = False
        self._answers: dict[str, asyncio.Future[str]] = {}
        self._listens: asyncio.Task[None] | None = None
        self.failed = False

    @classmethod
    async def start(
        cls, settings: recorder.Settings, told: Callable[[dict[str, str]], None]
    ) -> Self:
        """A recorder that was just started. OSError when it cannot be."""
        link = cls(told)
        read, link._begun = os.pipe()
        os.set_blocking(link._begun, False)
        stdin, link._ended = os.pipe()
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            # Else the two take turns at every 64 KB.
            with suppress(OSError):
                fcntl.fcntl(stdin, fcntl.F_SETPIPE_SZ, _PIPE)
        settings = msgspec.structs.replace(settings, begun=read)
        try:
            # A session of its own: Ctrl-C ends the proxy, and then its stdin ends.
            link._process = await asyncio.create_subprocess_exec(
                sys.executable,
                recorder.__file__,
                msgspec.json.encode(settings).decode(),
                stdin=stdin,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
                pass_fds=(read,),
            )
        except BaseException:
            os.close(link._begun)
            os.close(link._ended)
            raise
        finally:
            os.close(read)
            os.close(stdin)
        link._listens = asyncio.create_task(link._listen())
        return link

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process
        return self._process.pid

    def begin(self, line: bytes) -> None:
        """Tell that an exchange begins: by the return of this the kernel has it, if it can."""
        self._backlog.append(line)
        self._flush()

    async def confirm(self, id: str, line: bytes) -> str:
        """As ``begin``, until it is written down; why it is not."""
        answer = self._answers[id] = asyncio.get_running_loop().create_future()
        if self.failed:
            return _ENDED
        self.begin(line)
        try:
            return await asyncio.wait_for(answer, _PATIENCE)
        except TimeoutError:
            return f"the recorder does not answer within {_PATIENCE:.0f} s"
        finally:
            self._answers.pop(id, None)

    async def send(self, jobs: Sequence[recorder.Job]) -> str | None:
        """Why one of ``jobs`` is not in a flow file; None when the recorder has ended before it
        said."""
        if self.failed or self._ended < 0:
            return None
        answer = self._answers[""] = asyncio.get_running_loop().create_future()
        try:
            # In a thread: the recorder takes what it has time for, and no stream waits for it.
            await asyncio.to_thread(_write, self._ended, recorder.frame(jobs))
        except OSError:
            return None
        said = await answer
        return None if said is _ENDED else said

    async def close(self) -> None:
        """Let the recorder write what it has, and end."""
        process = self._process
        if process is None:
            return
        if self._ended >= 0:
            os.close(self._ended)
            self._ended = -1
        while self._backlog and not self.failed:
            await asyncio.sleep(0.01)
        self._shut()
        await process.wait()
        if self._listens:
            await self._listens

    def kill(self) -> None:
        """End the recorder at once."""
        if self._process:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def _listen(self) -> None:
        assert self._process and self._process.stdout
        while line := await self._process.stdout.readline():
            try:
                said: dict[str, Any] = msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue
            if not isinstance(said, dict):
                continue
            self._told(said)
            if "job" in said:
                self._answer("", said["job"])
            elif "begun" in said:
                self._answer(said["begun"], said["why"])
        self.failed = True
        for id in list(self._answers):
            self._answer(id, _ENDED)
        self._shut()

    def _answer(self, id: str, why: str) -> None:
        if (waits := self._answers.get(id)) and not waits.done():
            waits.set_result(why)

    def _flush(self) -> None:
        while self._backlog and self._begun >= 0:
            try:
                # Shorter than PIPE_BUF: it goes whole, or not at all.
                os.write(self._begun, self._backlog[0])
            except BlockingIOError:
                if not self._writes:
                    asyncio.get_running_loop().add_writer(self._begun, self._flush)
                    self._writes = True
                return
            except OSError:
                break
            self._backlog.popleft()
        if self._begun < 0 or self._backlog:
            self._backlog.clear()
        if self._writes and self._begun >= 0:
            asyncio.get_running_loop().remove_writer(self._begun)
            self._writes = False

    def _shut(self) -> None:
        if self._begun < 0:
            return
        if self._writes:
            asyncio.get_running_loop().remove_writer(self._begun)
            self._writes = False
        os.close(self._begun)
        self._begun = -1


_ENDED = "the recorder has ended"


def _write(descriptor: int, pieces: Sequence[bytes]) -> None:
    """All of ``pieces``, however long the other end takes."""
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
