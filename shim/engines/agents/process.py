"""A program that talks in lines, in a process group of its own that never outlives its turn."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence

#: Longer lines are none that anybody meant.
_LONGEST = 32 * 1024 * 1024
#: Seconds between asking it to end and ending it.
_GRACE = 2.0
_TAIL = 40
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


class AgentError(Exception):
    """A turn cannot be answered: ``status`` for the client, and a sentence."""

    def __init__(self, message: str, status: int = 502, code: str = "agent_failed") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Child:
    """A running program; ``end`` must be called, however the turn goes."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self._process = process
        self._name = name
        self._said: deque[str] = deque(maxlen=_TAIL)
        self._listens = asyncio.create_task(self._listen())

    @classmethod
    async def start(
        cls, words: Sequence[str], *, cwd: str, env: Mapping[str, str], prompt: bool = True
    ) -> Child:
        """Start ``words``; without ``prompt`` it reads nothing. AgentError when it cannot be."""
        path = shutil.which(words[0], path=env.get("PATH"))
        if path is None:
            raise AgentError(f"the program {words[0]} is not installed", 503, "agent_missing")
        pipe = asyncio.subprocess.PIPE
        group = {"start_new_session": True} if os.name == "posix" else {}
        try:
            process = await asyncio.create_subprocess_exec(
                path,
                *words[1:],
                stdin=pipe if prompt else asyncio.subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe,
                cwd=cwd,
                env=dict(env),
                limit=_LONGEST,
                **group,  # type: ignore[arg-type]
            )
        except (OSError, ValueError) as e:
            why = getattr(e, "strerror", None) or e
            raise AgentError(f"{words[0]} cannot be started: {why}", 503) from None
        return cls(process, words[0])

    async def send(self, data: bytes, *, close: bool = False) -> None:
        """Give it ``data`` to read. AgentError when it reads no more."""
        stdin = self._process.stdin
        assert stdin
        try:
            stdin.write(data)
            await stdin.drain()
            if close:
                stdin.close()
        except (ConnectionError, RuntimeError):
            await self.failed()

    async def lines(self) -> AsyncIterator[bytes]:
        """What it prints, line by line, until it ends."""
        stdout = self._process.stdout
        assert stdout
        while True:
            try:
                line = await stdout.readline()
            except ValueError:
                raise AgentError(f"{self._name} printed a line without an end") from None
            if not line:
                return
            yield line

    async def failed(self) -> None:
        """Raise what there is to say of its end: its code, and its last words."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), _GRACE)
            await asyncio.wait_for(asyncio.shield(self._listens), _GRACE)
        code = self._process.returncode
        if code is None:
            how = "stopped answering"
        elif code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        else:
            how = f"ended with code {code}"
        said = self.tail()
        raise AgentError(f"{self._name} {how}" + (f": {said}" if said else ""))

    async def code(self) -> int:
        """Its exit code, once it has ended."""
        return await self._process.wait()

    def tail(self) -> str:
        """Its last words on stderr, fit to be shown."""
        lines = [line for line in self._said if line]
        return " / ".join(lines[-3:])[-600:]

    async def end(self) -> None:
        """Make sure that nothing of it is left: first kindly, then not."""
        process = self._process
        with contextlib.suppress(OSError, RuntimeError):
            if process.stdin:
                process.stdin.close()
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _GRACE)
        except TimeoutError:
            pass
        finally:
            # What it started may still be there when it is not.
            self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))
            await process.wait()
            self._listens.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listens

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(self._process.pid, number)
            elif self._process.returncode is None:
                self._process.send_signal(number)

    async def _listen(self) -> None:
        stderr = self._process.stderr
        assert stderr
        while True:
            try:
                line = await stderr.readline()
            except ValueError:
                continue
            if not line:
                return
            self._said.append(_CONTROL.sub("", line.decode("utf-8", "replace")).strip())


def environment(own: Mapping[str, str], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of an agent: ours without what is only for the chain, and its ``own``.

    What it asks on this machine goes there directly, whatever proxy is set.
    """
    found = {k: v for k, v in (environ or os.environ).items() if not k.startswith("INTERPOSE_")}
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [h for h in found.get(name, "").split(",") if h]
        found[name] = ",".join(dict.fromkeys([*hosts, "127.0.0.1", "localhost", "::1"]))
    return found | dict(own)
