"""The recorder: writes exchanges to flow files and the journal, in a process beside the proxy.

Searching long bodies for keys and writing them takes as long as a turn takes to pass; in the
proxy's process every stream would wait for it. Ended exchanges come on stdin, and what begins on a
pipe of its own, where it is safe before the turn leaves, whatever becomes of the proxy. Answers are
lines of JSON.
"""

from __future__ import annotations

import gc
import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec

from addons import legs
from addons.jobs import Begun, Job, Receiver
from addons.memory import keep_freed
from shim.encodings import RECORDED, Limit
from shim.record import summary
from shim.record.events import END, START, Event, ended
from shim.record.files import FlowFiles
from shim.record.journal import NAME, Journal
from shim.record.redact import Redactor

_BEHIND = "the recorder is too far behind; the journal alone tells of this exchange"
#: Seconds that what begins may wait in its pipe, to be written together with what ends.
_PAUSE = 0.5


class Settings(msgspec.Struct):
    """Where and how the recorder writes. ``path`` is the first flow file, ``proxy`` the process
    that it records, ``begun`` the descriptor on which it is told what begins, or ``port`` where it
    asks for that, with the first line of its stdin; for the others see `FlowFiles` and `Journal`.
    """

    path: str
    proxy: int
    begun: int
    rotate: int = 0
    days: float = 0
    size: int = 0
    journal_days: float = 0
    urgent: bool = False
    #: Bytes to which a body is unpacked; 0: `RECORDED`.
    most: int = 0
    port: int = 0


def _source(settings: Settings) -> tuple[int | socket.socket, Callable[[int], bytes]]:
    """Where it is told what begins, and how that is read."""
    if settings.port:
        called = socket.create_connection(("127.0.0.1", settings.port))
        called.sendall(sys.stdin.buffer.readline())
        return called, called.recv
    return settings.begun, partial(os.read, settings.begun)


class Recorder:
    """Writes what it is told; each answer says what went wrong, if anything did."""

    def __init__(self, settings: Settings) -> None:
        path = Path(settings.path)
        self._files = FlowFiles(path, settings.rotate, settings.days, settings.size)
        pids = (settings.proxy, os.getpid())
        self._journal = Journal(path.parent / NAME, pids, settings.journal_days)
        self._source, self._read = _source(settings)
        self._rest, self._over = b"", settings.begun < 0 and not settings.port
        self._urgent = settings.urgent
        self._limit = Limit(settings.most) if settings.most else RECORDED
        self._lock, self._out = threading.Lock(), threading.Lock()
        self._ends = threading.Event()
        self._trouble = ""
        #: The versions of policies that a file tells already.
        self._policies: set[tuple[object, str]] = set()
        threading.Thread(target=self._files.tidy, daemon=True).start()

    def begins(self) -> None:
        """Take what begins until the other end is closed."""
        while not self._over:
            select.select([self._source], [], [])
            if not self._urgent:
                self._ends.wait(_PAUSE)
            self._note([])

    def ends(self, jobs: Sequence[Job]) -> None:
        """Write down exchanges that have ended."""
        events, trouble = [], ""
        for job, (path, why, redact) in zip(jobs, self._written(jobs), strict=True):
            started, at = job.times
            data = msgspec.json.encode(ended(job.row, started, path.name if path else None))
            events.append(Event(END, at, str(job.row["exchange"]), redact.deep(data).decode()))
            trouble = why or trouble
        self._note(events)
        self._say(job=trouble, file=str(self._files.path))

    def _written(self, jobs: Sequence[Job]) -> Iterator[tuple[Path | None, str, Redactor]]:
        """Put the flows of ``jobs`` into a file; which, or why in none, and what hides the keys."""
        made: list[tuple[bytes | str, Redactor]] = []
        told: dict[str, int] = {}
        for at, job in enumerate(jobs):
            redact = legs.redactor(job.secrets, job.rules, job.session, job.used, job.sent)
            flows: bytes | str = _BEHIND
            try:
                if job.legs:
                    found = legs.legs(job, self._limit)
                    version = str(job.row.get("policy"))
                    known = version in told or (self._files.path, version) in self._policies
                    if not known:
                        found.states[0]["metadata"][summary.POLICY] = legs.policy_of(job)
                        told[version] = at
                    flows, redact = legs.written(job, found), found.redact
            except Exception as e:
                flows = f"{self._files.path}: an exchange could not be written: {e!r}"
            made.append((flows, redact))
        written = [flows for flows, _ in made if isinstance(flows, bytes)]
        places = iter(self._files.append_all(written) if written else ())
        for at, (flows, redact) in enumerate(made):
            place = next(places) if isinstance(flows, bytes) else None
            self._policies |= {(place, version) for version, n in told.items() if n == at}
            if isinstance(place, Path):
                yield place, "", redact
            elif isinstance(flows, str):
                yield None, flows, redact
            else:
                yield None, f"{self._files.path}: {getattr(place, 'strerror', '') or place}", redact

    def hurry(self) -> None:
        """No more will end: what has begun waits for nothing."""
        self._ends.set()

    def close(self) -> None:
        """The proxy is gone: what it has not ended is lost."""
        self._journal.close()

    def _taken(self) -> list[Begun]:
        """What the proxy has said since about what begins."""
        told: list[Begun] = []
        while not self._over and select.select([self._source], [], [], 0)[0]:
            try:
                data = self._read(1 << 16)
            except ConnectionError:
                data = b""
            *lines, self._rest = (self._rest + data).split(b"\n")
            told += [msgspec.json.decode(line, type=Begun) for line in lines]
            self._over = not data
        return told

    def _note(self, events: list[Event]) -> None:
        """Into the journal with ``events``, and with what has begun before them."""
        with self._lock:
            told = self._taken()
            events = [Event(START, b.at, b.id, b.data) for b in told] + events
            try:
                why = (self._journal.add(events) or "") if events else self._trouble
            except Exception as e:
                why = f"the journal could not be written: {e!r}"
            if why != self._trouble:
                self._trouble = why
                self._say(journal=why)
        for begun in told:
            if begun.answer:
                self._say(begun=begun.id, why=why or (self._probed() if begun.probe else ""))

    def _probed(self) -> str:
        try:
            self._files.probe()
        except OSError as e:
            return f"{self._files.path.parent}: {e.strerror or e}"
        return ""

    def _say(self, **said: str) -> None:
        with self._out:
            try:
                os.write(1, msgspec.json.encode(said) + b"\n")
            except OSError:
                # The proxy was ended; what it has told is written all the same.
                pass


def main(settings: Settings) -> None:
    """Serve until the proxy closes its ends, however it ends."""
    keep_freed()
    # Nobody waits for the file; somebody waits for the next delta.
    if not settings.urgent:
        if sys.platform == "linux":
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        elif sys.platform != "win32":
            os.nice(15)
    recorder = Recorder(settings)
    listens = threading.Thread(target=recorder.begins)
    listens.start()
    gc.freeze()
    # Nothing here refers to itself, but for what an error leaves behind.
    gc.set_threshold(50_000)
    receiver = Receiver(sys.stdin.buffer)
    while jobs := receiver.jobs():
        recorder.ends(jobs)
        del jobs
    recorder.hurry()
    listens.join()
    recorder.close()


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Settings))
