"""The recorder: writes exchanges to flow files and the journal, in a process beside the proxy.

Searching long bodies for keys and writing them takes as long as a turn takes to pass; in the
proxy's process every stream would wait for it. Ended exchanges come on stdin, and what begins on a
pipe of its own, where it is safe before the turn leaves, whatever becomes of the proxy. Answers are
lines of JSON.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec
from mitmproxy import flow as mflow
from mitmproxy import http
from mitmproxy.connection import Client, Server
from mitmproxy.io import FlowWriter

from addons.memory import keep_freed
from shim.policy.rules import RedactRule
from shim.policy.units import size
from shim.prompt.mask import Masks
from shim.prompt.secrets import Finder
from shim.record import summary
from shim.record.events import END, START, Event, ended
from shim.record.files import FlowFiles
from shim.record.journal import NAME, Journal
from shim.record.redact import Redactor

_SIZE = 8


type Leg = tuple[dict[str, Any], dict[str, Any] | None]


class Settings(msgspec.Struct):
    """Where and how the recorder writes. ``path`` is the first flow file, ``proxy`` the process
    that it records, ``begun`` the descriptor on which it is told what begins; for the others see
    `FlowFiles` and `Journal`."""

    path: str
    proxy: int
    begun: int
    rotate: int = 0
    days: float = 0
    size: int = 0
    journal_days: float = 0
    urgent: bool = False


class Begun(msgspec.Struct):
    """An exchange that begins; ``data`` is what the journal says, without keys.

    ``answer``: somebody waits until it is written; ``probe``: and until flows could be, too.
    """

    id: str
    at: float
    data: str
    answer: bool = False
    probe: bool = False


class Job(msgspec.Struct):
    """One exchange: its row, the states of its two connections, its legs as the fields of request
    and response without their bodies, the error if it broke off, the bodies beside them.

    ``rules`` is what the policy masks in recordings, ``session`` the key of its masks; ``times``
    are when it began and ended.
    ``bodies`` are the request's and the response's of each leg in turn. The second leg, if there
    is one, is the upstream's.
    """

    row: dict[str, Any]
    secrets: frozenset[str]
    connections: tuple[dict[str, Any], dict[str, Any]]
    legs: list[Leg]
    error: dict[str, Any] | None
    bodies: list[bytes]
    rules: bytes = b""
    session: str = ""
    times: tuple[float, float] = (0.0, 0.0)

    @property
    def size(self) -> int:
        """Bytes it holds, about."""
        return sum(map(len, self.bodies))


def frame(job: Job) -> list[bytes]:
    """``job`` as it is sent: sizes, the small parts, then the bodies as they are."""
    small = (job.row, job.secrets, job.connections, job.legs, job.error)
    sizes = [len(b) for b in job.bodies]
    head = pickle.dumps((*small, sizes, job.rules, job.session, job.times), protocol=5)
    return [len(head).to_bytes(_SIZE) + head, *job.bodies]


def receive(source: IO[bytes]) -> Job | None:
    """The next frame; None at the end, and where the proxy was ended in the middle of one."""
    length = source.read(_SIZE)
    head = source.read(int.from_bytes(length))
    if len(length) < _SIZE or len(head) < int.from_bytes(length):
        return None
    row, secrets, connections, legs, error, sizes, rules, session, times = pickle.loads(head)
    bodies = [source.read(n) for n in sizes]
    if [len(b) for b in bodies] != sizes:
        return None
    return Job(row, secrets, connections, legs, error, bodies, rules, session, times)


@lru_cache(maxsize=64)
def redactor(secrets: frozenset[str], rules: bytes = b"", session: str = "") -> Redactor:
    """The Redactor for ``secrets`` and a policy's ``rules`` (JSON), made once."""
    if not rules:
        return Redactor(secrets)
    finder, blobs = _finder(rules)
    key = session.encode() or b"interpose"
    return Redactor(secrets, Masks(finder, key, as_json=True), blobs)


@lru_cache(maxsize=16)
def _finder(rules: bytes) -> tuple[Finder, int | None]:
    made = msgspec.json.decode(rules, type=list[RedactRule])
    blobs = [size(rule.blobs_over) for rule in made if rule.blobs_over is not None]
    return Finder(made), min(blobs) if blobs else None


def flows(job: Job) -> list[http.HTTPFlow]:
    """The legs of ``job`` as flows without keys, each with the row as its comment."""
    redact = redactor(job.secrets, job.rules, job.session)
    client, server = job.connections
    made = []
    clean = False
    for at, (name, (request, response)) in enumerate(
        zip(("client", "upstream"), job.legs, strict=False)
    ):
        leg = http.HTTPFlow(Client.from_state({**client}), Server.from_state({**server}))
        leg.request = http.Request(**_message(request))
        leg.timestamp_created = leg.request.timestamp_start
        if response:
            leg.response = http.Response(**_message(response))
        if job.error:
            leg.error = mflow.Error.from_state(job.error)
        asked, answered = job.bodies[2 * at : 2 * at + 2]
        # What holds no key on the client's side holds none upstream: long bodies are read once.
        if clean:
            leg.request.raw_content = asked
        else:
            clean = not _clean(leg.request, asked, redact) and not job.row.get("edited")
        leg.request.path = redact.path(leg.request.path)
        leg.request.headers = http.Headers(redact.headers(leg.request.headers.fields))
        if leg.response:
            _clean(leg.response, answered, redact)
            leg.response.headers = http.Headers(redact.headers(leg.response.headers.fields))
        if leg.error:
            leg.error = mflow.Error(redact.text(leg.error.msg), leg.error.timestamp)
        leg.comment = redact.text(summary.comment(name, job.row))
        leg.marked = summary.mark(job.row)
        made.append(leg)
    return made


def _clean(message: http.Message, body: bytes, redact: Redactor) -> bool:
    """Give ``message`` its ``body`` without keys; whether there were any."""
    message.raw_content = body
    content = message.get_content(strict=False) or b""
    made = redact.deep(content)
    if made == content:
        return False
    message.headers.pop("content-encoding", None)
    message.raw_content = made
    return True


def _message(fields: dict[str, Any]) -> dict[str, Any]:
    trailers = fields["trailers"]
    return {
        **fields,
        "headers": http.Headers(fields["headers"]),
        "trailers": None if trailers is None else http.Headers(trailers),
    }


class _Pieces(list[bytes]):
    """A file as FlowWriter wants one, without a copy of what is long."""

    write = list[bytes].append


def written(job: Job) -> list[bytes]:
    """The flows of ``job`` as a flow file holds them."""
    file = _Pieces()
    writer = FlowWriter(cast(BinaryIO, file))
    for leg in flows(job):
        writer.add(leg)
    return file


class Recorder:
    """Writes what it is told; each answer says what went wrong, if anything did."""

    def __init__(self, settings: Settings) -> None:
        path = Path(settings.path)
        self._files = FlowFiles(path, settings.rotate, settings.days, settings.size)
        pids = (settings.proxy, os.getpid())
        self._journal = Journal(path.parent / NAME, pids, settings.journal_days)
        self._out = threading.Lock()
        self._trouble = ""
        threading.Thread(target=self._files.tidy, daemon=True).start()

    def begins(self, source: int) -> None:
        """Take what begins off the descriptor ``source`` until its other end is closed."""
        rest = b""
        while data := os.read(source, 1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            told = [msgspec.json.decode(line, type=Begun) for line in lines]
            why = self._note([Event(START, b.at, b.id, b.data) for b in told])
            for begun in told:
                if begun.answer:
                    self._say(begun=begun.id, why=why or (self._probed() if begun.probe else ""))

    def ends(self, job: Job) -> None:
        """Write down an exchange that has ended."""
        path = self._files.path
        try:
            path, why = self._files.append(*written(job)), ""
        except OSError as e:
            why = f"{self._files.path}: {e.strerror or e}"
        except Exception as e:
            why = f"{self._files.path}: an exchange could not be written: {e!r}"
        started, at = job.times
        data = msgspec.json.encode(ended(job.row, started, None if why else path.name))
        data = redactor(job.secrets, job.rules, job.session).deep(data)
        self._note([Event(END, at, str(job.row["exchange"]), data.decode())])
        self._say(job=why, file=str(path))

    def close(self) -> None:
        """The proxy is gone: what it has not ended is lost."""
        self._journal.close()

    def _note(self, events: list[Event]) -> str:
        try:
            why = self._journal.add(events) or ""
        except Exception as e:
            why = f"the journal could not be written: {e!r}"
        if why != self._trouble:
            self._trouble = why
            self._say(journal=why)
        return why

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
        if hasattr(os, "SCHED_IDLE"):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        elif hasattr(os, "nice"):
            os.nice(15)
    recorder = Recorder(settings)
    listens = threading.Thread(target=recorder.begins, args=(settings.begun,))
    listens.start()
    while (job := receive(sys.stdin.buffer)) is not None:
        recorder.ends(job)
    listens.join()
    recorder.close()


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Settings))
