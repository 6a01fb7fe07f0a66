"""Hands exchanges to the recorder process as they begin and end, while the proxy goes on."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

import msgspec

from addons import recorder
from addons.jobs import Begun, Job
from addons.link import Link
from addons.services import Services
from shim.record.files import new_name

logger = logging.getLogger(__name__)

#: More than this many bytes waiting for the recorder, and new turns wait for it too. Beyond twice
#: as many, of what ends only the journal is told: an answer under way is never held up.
_MOST = 128 * 1024 * 1024
_PATIENCE = 30.0
#: With so many bytes waiting, and none of that time without any, the machine is too busy for a
#: recorder that only takes what time is left.
_LATE, _LATE_FOR = 16 * 1024 * 1024, 10.0
#: Seconds an exchange waits, so that where turns come thick they are written in batches, and most
#: turns meet none of that work.
_PAUSE = 0.1
#: Seconds between two looks whether what was put so far is written.
_LOOK = 0.02
#: So many exchanges, or bytes, go to the recorder at once.
_BATCH, _LARGE = 64, 4 * 1024 * 1024


class Writer:
    """A queue with a recorder at its end, which is started with the first exchange.

    ``settings`` has everything but the path. With ``required``, an exchange may only begin when
    that is written down.
    """

    def __init__(
        self,
        services: Services,
        folder: Path | None,
        settings: recorder.Settings | None = None,
        *,
        required: bool = False,
    ) -> None:
        name = new_name(os.getpid(), time.time())
        self.on = folder is not None
        made = settings or recorder.Settings("", 0, -1)
        self._settings = msgspec.structs.replace(
            made, path=str(folder / name) if folder else "", proxy=os.getpid(), urgent=required
        )
        self.required = required and self.on
        self._services = services
        self._jobs: deque[Job] = deque()
        self._waiting = 0
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._roomy = asyncio.Event()
        #: When the recorder last got something done, or was replaced; since when something waits.
        self._done = self._since = time.monotonic()
        #: How many exchanges were put, and how many of them are done with.
        self._put = self._over = 0
        self._link: Link | None = None
        self._starting = asyncio.Lock()
        #: What has begun and not ended: another recorder is told again.
        self._begun: dict[str, bytes] = {}
        self._trouble = {"file": "", "journal": ""}

    async def begin(self, begun: Begun) -> str:
        """Note that an exchange begins; why it may not, which is only said where it is required."""
        begun.answer, begun.probe = self.required, bool(self._trouble["file"])
        line = msgspec.json.encode(begun) + b"\n"
        if self.required:
            try:
                link = await self._linked()
            except OSError as e:
                return self._trouble_with("file", f"the recorder cannot be started: {e}")
            self._begun[begun.id] = line
            why = await link.confirm(begun.id, line)
            if not why:
                self._trouble_with("file", "")
            else:
                self._begun.pop(begun.id, None)
            return why
        self._begun[begun.id] = line
        if self._link and not self._link.failed:
            self._link.begin(line)
        elif self._services.running:
            await self.start()
        return ""

    def put(self, job: Job) -> None:
        """Have ``job`` written down soon."""
        if not self.on:
            return
        if self._waiting > _MOST and self._waiting + job.size > 2 * _MOST:
            job = msgspec.structs.replace(job, legs=[], bodies=[])
        self._jobs.append(job)
        self._put += 1
        self._waiting += job.size
        if self._waiting > _MOST:
            self._roomy.clear()
        if self._task is None or self._task.done():
            self._since = time.monotonic()
            self._task = asyncio.create_task(self._run())
        elif self._waiting > _LATE and time.monotonic() - self._since > _LATE_FOR:
            self._hasten()

    async def start(self) -> None:
        """Have the recorder there when the first exchange comes."""
        if self.on:
            try:
                await self._linked()
            except OSError as e:
                self._trouble_with("file", f"the recorder cannot be started: {e}")

    async def settle(self) -> None:
        """Wait until everything put so far is written, or could not be."""
        last = self._put
        while self._over < last and self._task and not self._task.done():
            self._hurry.set()
            # Others may go on being put meanwhile.
            await asyncio.wait([self._task], timeout=_LOOK)

    async def room(self) -> None:
        """Wait while too much is waiting, so that a slow disk does not fill the memory."""
        if self._waiting <= _MOST:
            return
        self._hurry.set()
        try:
            await asyncio.wait_for(self._roomy.wait(), _PATIENCE)
        except TimeoutError:
            self._hasten(stuck=time.monotonic() - self._done > _PATIENCE)

    def _hasten(self, stuck: bool = False) -> None:
        """Have an urgent recorder in place of one that gets no time, or is ``stuck``."""
        if self._link and (stuck or not self._settings.urgent):
            logger.warning("the recorder is too far behind: an urgent one takes its place")
            self._settings = msgspec.structs.replace(self._settings, urgent=True)
            self._done = time.monotonic()
            self._link.kill()

    async def close(self) -> None:
        """Write what is waiting, then end the recorder."""
        await self.settle()
        if self._link:
            await self._link.close()
            self._link = None

    async def _run(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), _PAUSE)
        self._hurry.clear()
        while self._jobs:
            jobs = [self._jobs.popleft()]
            while self._jobs and len(jobs) < _BATCH and sum(job.size for job in jobs) < _LARGE:
                jobs.append(self._jobs.popleft())
            try:
                why = await self._record(jobs)
            except Exception as e:
                logger.exception("not recorded")
                why = f"an exchange could not be recorded: {e!r}"
            self._done = time.monotonic()
            self._over += len(jobs)
            for job in jobs:
                self._waiting -= job.size
                self._begun.pop(str(job.row["exchange"]), None)
            if self._waiting <= _MOST:
                self._roomy.set()
            self._trouble_with("file", why)
            if not why:
                self._services.recording.file = self._settings.path

    async def _record(self, jobs: list[Job]) -> str:
        """Why ``jobs`` are not all in the file; empty when they are."""
        for _ in range(2):
            # A recorder that ended meanwhile is started again, so that nothing is lost with it.
            link = await self._linked()
            if (why := await link.send(jobs)) is not None:
                return why
            await link.close()
        return f"{self._settings.path}: the recorder ends before it has written an exchange"

    async def _linked(self) -> Link:
        """The recorder; another one where the last has ended. OSError when there can be none."""
        async with self._starting:
            if self._link is None or self._link.failed:
                self._link = link = await Link.start(self._settings, self._told)
                for line in list(self._begun.values()):
                    link.begin(line)
            return self._link

    def _told(self, said: dict[str, str]) -> None:
        if path := said.get("file"):
            # The recorder goes on in other files; one that takes its place shall too.
            self._settings = msgspec.structs.replace(self._settings, path=path)
        if "journal" in said:
            self._trouble_with("journal", said["journal"])

    def _trouble_with(self, what: str, why: str) -> str:
        """Tell everybody what cannot be written, and when it can be again."""
        if why and self._trouble[what] != why:
            logger.error("not recorded: %s", why)
        self._trouble[what] = why
        trouble = filter(None, self._trouble.values())
        self._services.recording.error = next(trouble, None)
        return why
