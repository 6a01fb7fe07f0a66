"""Hands ended exchanges to the recorder process, one by one, while the proxy goes on."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from addons import recorder
from addons.exchange import Chain

logger = logging.getLogger(__name__)

#: More than this many bytes waiting for the recorder, and new turns wait for it too.
_MOST = 256 * 1024 * 1024
_PATIENCE = 30.0
_SLICE = 128 * 1024
#: Seconds an exchange waits, so that where turns come thick they are written in batches, and most
#: turns meet none of that work.
_PAUSE = 0.1


class Writer:
    """A queue with a recorder at its end, which is started with the first exchange."""

    def __init__(self, chain: Chain, folder: Path | None) -> None:
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.flow"
        self._path = folder / name if folder else None
        self._chain = chain
        self._jobs: deque[recorder.Job] = deque()
        self._waiting = 0
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._recorder: asyncio.subprocess.Process | None = None

    def put(self, job: recorder.Job) -> None:
        """Have ``job`` written down soon."""
        if self._path is None:
            return
        self._jobs.append(job)
        self._waiting += job.size
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def settle(self) -> None:
        """Wait until everything put so far is written, or could not be."""
        while self._task and not self._task.done():
            self._hurry.set()
            await asyncio.wait([self._task])

    async def room(self) -> None:
        """Wait while too much is waiting, so that a slow disk does not fill the memory."""
        if self._waiting > _MOST and self._task:
            self._hurry.set()
            await asyncio.wait([self._task], timeout=_PATIENCE)

    async def close(self) -> None:
        """Write what is waiting, then end the recorder."""
        await self.settle()
        if self._recorder and self._recorder.stdin:
            self._recorder.stdin.close()
            await self._recorder.wait()
            self._recorder = None

    async def _run(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), _PAUSE)
        self._hurry.clear()
        while self._jobs:
            job = self._jobs.popleft()
            try:
                why = await self._record(job)
            except Exception as e:
                logger.exception("not recorded")
                why = f"an exchange could not be recorded: {e!r}"
            self._waiting -= job.size
            if why and self._chain.recording_error != why:
                logger.error("not recorded: %s", why)
            self._chain.recording_error = why or None
            if not why:
                self._chain.flow_file = str(self._path)

    async def _record(self, job: recorder.Job) -> str:
        """Why ``job`` is not in the file; empty when it is."""
        for _ in range(2):
            # A recorder that ended meanwhile is started again, so that nothing is lost with it.
            process = self._recorder or await self._start()
            self._recorder = process
            assert process.stdin and process.stdout
            try:
                for piece in recorder.frame(job):
                    view = memoryview(piece)
                    # In slices: what does not fit into the pipe is copied to wait.
                    for at in range(0, len(view), _SLICE):
                        process.stdin.write(view[at : at + _SLICE])
                        await process.stdin.drain()
                if said := await process.stdout.readline():
                    return said.decode().strip()
            except OSError:
                pass
            self._recorder = None
            await process.wait()
        return f"{self._path}: the recorder ends before it has written an exchange"

    async def _start(self) -> asyncio.subprocess.Process:
        # A session of its own: Ctrl-C ends the proxy, and then its stdin ends.
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            recorder.__file__,
            str(self._path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdin
        process.stdin.transport.set_write_buffer_limits(0)
        return process
