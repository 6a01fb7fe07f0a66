"""A program that talks in lines, in a process group of its own that never outlives its turn."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...system import end_group
from .keeper import GRACE, SIGNALLED

#: Longer lines are none that anybody meant.
_LONGEST = 16 * 1024 * 1024
#: Bytes of its last words that are kept, and how many of them are shown.
_KEPT, _SHOWN = 8192, 600
_CONTROL = re.compile(
    r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x1f\x7f-\x9f]"
)
_KEEPER = Path(__file__).with_name("keeper.py")


#: The status of a turn that failed: one at which no client sends it again by itself, since the
#: agent may have done half of it.
FAILED = 424


class AgentError(Exception):
    """A turn cannot be answered: ``status`` for the client, and a sentence."""

    def __init__(self, message: str, status: int = FAILED, code: str = "agent_failed") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Child:
    """A running program; ``end`` must be called, however the turn goes."""

    def __init__(self, transport: asyncio.SubprocessTransport, name: str, lifeline: int) -> None:
        self._transport = transport
        protocol = transport.get_protocol()
        assert isinstance(protocol, asyncio.subprocess.SubprocessStreamProtocol)
        loop = asyncio.get_running_loop()
        self._process = asyncio.subprocess.Process(transport, protocol, loop)
        self._name = name
        self._lifeline = lifeline
        self._said = self._noise = b""
        self._listens = asyncio.create_task(self._listen())
        self._ends: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls, words: Sequence[str], *, cwd: str, env: Mapping[str, str], prompt: bool = True
    ) -> Child:
        """Start ``words``; without ``prompt`` it reads nothing. AgentError when it cannot be."""
        path = shutil.which(words[0], path=env.get("PATH"))
        if path is None:
            raise AgentError(f"the program {words[0]} is not installed", 503, "agent_missing")
        command, ours, theirs = [path, *words[1:]], -1, -1
        more: dict[str, Any] = {}
        if sys.platform != "win32":
            theirs, ours = os.pipe()
            command = [sys.executable, "-I", "-S", str(_KEEPER), str(theirs), *command]
            more = {"start_new_session": True, "pass_fds": (theirs,)}
        pipe = asyncio.subprocess.PIPE
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.subprocess_exec(
                lambda: asyncio.subprocess.SubprocessStreamProtocol(limit=_LONGEST, loop=loop),
                *command,
                stdin=pipe if prompt else asyncio.subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe,
                cwd=cwd,
                env=dict(env),
                **more,
            )
        except BaseException as e:
            _close(ours)
            if not isinstance(e, OSError | ValueError):
                raise
            why = getattr(e, "strerror", None) or e
            raise AgentError(f"{words[0]} cannot be started: {why}", 503) from None
        finally:
            _close(theirs)
        return cls(transport, words[0], ours)

    async def send(self, data: bytes, *, close: bool = False) -> bool:
        """Give it ``data`` to read; whether it still reads."""
        stdin = self._process.stdin
        assert stdin
        try:
            stdin.write(data)
            await stdin.drain()
            if close:
                stdin.close()
        except (ConnectionError, RuntimeError):
            return False
        return True

    async def lines(self) -> AsyncIterator[bytes]:
        """What it prints, line by line, until it ends."""
        stdout = self._process.stdout
        assert stdout
        while True:
            try:
                line = await stdout.readline()
            except ValueError:
                size = _LONGEST // 1024 // 1024
                raise AgentError(f"{self._name} printed a line of more than {size} MB") from None
            if not line:
                return
            yield line

    def noise(self, line: bytes) -> None:
        """A line that says nothing: its last words, if it has no others."""
        self._noise = (self._noise + line)[-_KEPT:]

    async def failed(self) -> AgentError:
        """What there is to say of its end: how it came, and its last words."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), GRACE)
            await asyncio.wait_for(asyncio.shield(self._listens), GRACE)
        said = self.tail()
        return AgentError(f"{self._name} {self._how()}" + (f": {said}" if said else ""))

    def _how(self) -> str:
        code = self._process.returncode
        if code is None:
            return "stopped answering"
        number = -code if code < 0 else code - SIGNALLED
        try:
            return f"was ended by {signal.Signals(number).name}"
        except ValueError:
            return f"ended with code {code}"

    async def code(self) -> int:
        """Its exit code, once it has ended; above 128 when a signal has ended it."""
        code = await self._process.wait()
        return SIGNALLED - code if code < 0 else code

    def tail(self) -> str:
        """Its last words, fit to be shown."""
        for data in (self._said, self._noise):
            said = data.decode("utf-8", "replace").splitlines()
            lines = [line for raw in said if (line := _CONTROL.sub("", raw).strip())]
            if lines:
                return " / ".join(lines[-3:])[-_SHOWN:]
        return ""

    def printed(self) -> str:
        """What was noise, without what is for a terminal."""
        return _CONTROL.sub("", self._noise.decode("utf-8", "replace"))

    async def end(self, patience: float = 0.0) -> None:
        """Make sure that nothing of it is left; with ``patience`` it may end by itself first."""
        try:
            if self._process.stdin:
                with contextlib.suppress(OSError, RuntimeError):
                    self._process.stdin.close()
            if patience:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._process.wait(), patience)
        finally:
            _close(self._lifeline)
            self._lifeline = -1
            # Cut short, the keeper would not get to what it has adopted.
            self._ends = asyncio.create_task(self._finish())
            await asyncio.shield(self._ends)

    async def _finish(self) -> None:
        if sys.platform == "win32" and self._transport.get_returncode() is None:
            end_group(self._transport.get_pid())
        # What nobody reads any more would keep the process from counting as ended.
        for number in (1, 2):
            if pipe := self._transport.get_pipe_transport(number):
                pipe.close()
        with contextlib.suppress(TimeoutError):
            # The keeper asks it, and then does not ask.
            await asyncio.wait_for(self._process.wait(), 2 * GRACE + 1)
        self._kill()
        self._transport.close()
        self._listens.cancel()

    def _kill(self) -> None:
        """End what the keeper has not: it was killed itself, or cannot adopt on this system."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            code = self._transport.get_returncode()
            if sys.platform == "win32":
                if code is None:
                    end_group(self._transport.get_pid())
            elif code is None or code < 0 or sys.platform != "linux":
                os.killpg(self._transport.get_pid(), signal.SIGKILL)

    async def _listen(self) -> None:
        stderr = self._process.stderr
        assert stderr
        while data := await stderr.read(65536):
            self._said = (self._said + data)[-_KEPT:]


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)


def environment(own: Mapping[str, str], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of an agent: ours without what is only for the chain, and its ``own``, where an
    empty one is one that it does not get.

    What it asks on this machine goes there directly, whatever proxy is set.
    """
    found = {k: v for k, v in (environ or os.environ).items() if not k.startswith("INTERPOSE_")}
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [h for h in found.get(name, "").split(",") if h]
        found[name] = ",".join(dict.fromkeys([*hosts, "127.0.0.1", "localhost", "::1"]))
    return {name: value for name, value in (found | dict(own)).items() if value or name not in own}
