"""The recorder process as the proxy sees it: what it is sent, and what it answers."""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Self

import msgspec

from addons import recorder
from addons.jobs import Job, Sender
from shim.system import detached

if sys.platform == "linux":
    import fcntl

_PIPE = 1024 * 1024
_PATIENCE = 30.0
#: Seconds after which a channel that was full is tried again.
_AGAIN = 0.01
#: Windows hands no descriptor on, and cannot wait for a pipe: there the recorder calls back.
CALLS_BACK = sys.platform == "win32"


class Link:
    """One recorder. ``told`` hears each of its answers, ``failed`` is set once it has ended."""

    def __init__(self, told: Callable[[dict[str, str]], None]) -> None:
        self._told = told
        self._process: asyncio.subprocess.Process | None = None
        self._ended = -1
        self._sender = Sender()
        #: Where it is told what begins: how that is written, and how it is closed.
        self._channel: tuple[Callable[[bytes], int], Callable[[], None]] | None = None
        #: What the pipe has no room for.
        self._backlog: deque[bytes] = deque()
        self._waits: asyncio.TimerHandle | None = None
        self._answers: dict[str, asyncio.Future[str]] = {}
        self._listens: asyncio.Task[None] | None = None
        self.failed = False

    @classmethod
    async def start(
        cls, settings: recorder.Settings, told: Callable[[dict[str, str]], None]
    ) -> Self:
        """A recorder that was just started. OSError when it cannot be."""
        link = cls(told)
        stdin, link._ended = os.pipe()
        if sys.platform == "linux":
            # Else the two take turns at every 64 KB.
            with suppress(OSError):
                fcntl.fcntl(stdin, fcntl.F_SETPIPE_SZ, _PIPE)
        try:
            await (link._called if CALLS_BACK else link._piped)(settings, stdin)
        except BaseException:
            os.close(link._ended)
            link.kill()
            raise
        finally:
            os.close(stdin)
        link._listens = asyncio.create_task(link._listen())
        return link

    async def _run(self, settings: recorder.Settings, stdin: int, **more: Any) -> None:
        # Ctrl-C ends the proxy, and then the recorder's stdin ends.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            recorder.__file__,
            msgspec.json.encode(settings).decode(),
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            **detached(sys.platform),
            **more,
        )

    async def _piped(self, settings: recorder.Settings, stdin: int) -> None:
        """Start it with a pipe that it inherits."""
        read, write = os.pipe()
        os.set_blocking(write, False)
        try:
            settings = msgspec.structs.replace(settings, begun=read)
            await self._run(settings, stdin, pass_fds=(read,))
        except BaseException:
            os.close(write)
            raise
        finally:
            os.close(read)
        self._channel = partial(os.write, write), partial(os.close, write)

    async def _called(self, settings: recorder.Settings, stdin: int) -> None:
        """Start it, and let it call a port of this machine with a word that only it knows."""
        word = secrets.token_hex().encode() + b"\n"
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            port = server.getsockname()[1]
            os.write(self._ended, word)
            await self._run(msgspec.structs.replace(settings, begun=-1, port=port), stdin)
            assert self._process
            ended = asyncio.create_task(self._process.wait())
            calls = asyncio.create_task(_call(server, word))
            try:
                first = asyncio.FIRST_COMPLETED
                await asyncio.wait({ended, calls}, timeout=_PATIENCE, return_when=first)
                if not calls.done():
                    raise OSError("it does not call back")
                caller = calls.result()
            finally:
                ended.cancel()
                calls.cancel()
        self._channel = caller.send, caller.close

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

    async def send(self, jobs: Sequence[Job]) -> str | None:
        """Why one of ``jobs`` is not in a flow file; None when the recorder has ended before it
        said."""
        if self.failed or self._ended < 0:
            return None
        answer = self._answers[""] = asyncio.get_running_loop().create_future()
        try:
            pieces = self._sender.frame(jobs)
        except BaseException:
            # What the next bodies build upon, this recorder has not been told.
            self.kill()
            raise
        try:
            # In a thread: the recorder takes what it has time for, and no stream waits for it.
            await asyncio.to_thread(_write, self._ended, pieces)
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
        while self._backlog and self._channel:
            line = self._backlog[0]
            try:
                # Into a pipe it goes whole, being shorter than PIPE_BUF, or not at all.
                sent = self._channel[0](line)
            except BlockingIOError:
                if self._waits is None:
                    self._waits = asyncio.get_running_loop().call_later(_AGAIN, self._again)
                return
            except OSError:
                break
            if sent < len(line):
                self._backlog[0] = line[sent:]
            else:
                self._backlog.popleft()
        self._backlog.clear()

    def _again(self) -> None:
        self._waits = None
        self._flush()

    def _shut(self) -> None:
        if self._waits:
            self._waits.cancel()
            self._waits = None
        if self._channel:
            self._channel[1]()
            self._channel = None


async def _call(server: socket.socket, word: bytes) -> socket.socket:
    """The connection of the first who knows the word."""
    loop = asyncio.get_running_loop()
    while True:
        caller, _ = await loop.sock_accept(server)
        caller.setblocking(False)
        said = b""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                while len(said) < len(word) and (more := await loop.sock_recv(caller, len(word))):
                    said += more
        if hmac.compare_digest(said, word):
            return caller
        caller.close()


_ENDED = "the recorder has ended"


def _write(descriptor: int, pieces: Sequence[bytes]) -> None:
    """All of ``pieces``, however long the other end takes."""
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
