"""The recorder: writes exchanges to flow files and the journal, in a process beside the proxy.

Searching long bodies for keys and writing them takes as long as a turn takes to pass; in the
proxy's process every stream would wait for it. Ended exchanges come on stdin, and what begins on a
pipe of its own, where it is safe before the turn leaves, whatever becomes of the proxy. Answers are
lines of JSON.
"""

from __future__ import annotations

import copy
import gc
import os
import pickle
import select
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec
from mitmproxy import http
from mitmproxy.connection import Client, Server
from mitmproxy.net.encoding import decode

from addons.memory import keep_freed
from shim.policy.rules import RedactRule
from shim.policy.units import size
from shim.prompt.mask import Masks
from shim.prompt.secrets import Finder
from shim.record import netstring, summary
from shim.record.again import Searched
from shim.record.events import END, START, Event, ended
from shim.record.files import FlowFiles
from shim.record.journal import NAME, Journal
from shim.record.redact import Redactor
from shim.record.redact import redactor as plain_redactor

_SIZE = 8
_BEHIND = "the recorder is too far behind; the journal alone tells of this exchange"
#: Seconds that what begins may wait for more, so that it is written together.
_PAUSE = 0.05


type Leg = tuple[dict[str, Any], dict[str, Any] | None]


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
    port: int = 0


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
    is one, is the upstream's. Without legs only the journal is told.
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


def frame(jobs: Sequence[Job]) -> list[bytes]:
    """``jobs`` as they are sent: a size, the small parts, then the bodies as they are."""
    small, bodies = [], []
    for job in jobs:
        sizes: list[int | None] = []
        for at, body in enumerate(job.bodies):
            # Where both legs speak one protocol, they often say the same.
            if at > 1 and body == job.bodies[at - 2]:
                sizes.append(None)
            else:
                sizes.append(len(body))
                bodies.append(body)
        parts = (job.row, job.secrets, job.connections, job.legs, job.error, sizes)
        small.append((*parts, job.rules, job.session, job.times))
    head = pickle.dumps(small, protocol=5)
    return [len(head).to_bytes(_SIZE) + head, *filter(None, bodies)]


def receive(source: IO[bytes]) -> list[Job]:
    """The next jobs; none at the end, and where the proxy was ended in the middle of them."""
    length = source.read(_SIZE)
    head = source.read(int.from_bytes(length))
    if len(length) < _SIZE or len(head) < int.from_bytes(length):
        return []
    jobs: list[Job] = []
    for row, secrets, connections, legs, error, sizes, rules, session, times in pickle.loads(head):
        bodies: list[bytes] = []
        for due in sizes:
            bodies.append(bodies[-2] if due is None else source.read(due))
            if due is not None and len(bodies[-1]) < due:
                return jobs
        jobs.append(Job(row, secrets, connections, legs, error, bodies, rules, session, times))
    return jobs


@lru_cache(maxsize=64)
def redactor(secrets: frozenset[str], rules: bytes = b"", session: str = "") -> Redactor:
    """The Redactor for ``secrets`` and a policy's ``rules`` (JSON), made once."""
    if not rules:
        return plain_redactor(secrets)
    finder, blobs = _finder(rules)
    key = session.encode() or b"interpose"
    return Redactor(secrets, Masks(finder, key, as_json=True), blobs)


@lru_cache(maxsize=16)
def _finder(rules: bytes) -> tuple[Finder, int | None]:
    made = msgspec.json.decode(rules, type=list[RedactRule])
    blobs = [size(rule.blobs_over) for rule in made if rule.blobs_over is not None]
    return Finder(made), min(blobs) if blobs else None


def states(job: Job) -> list[dict[str, Any]]:
    """The legs of ``job`` as the states of flows without keys, each with the row as its comment."""
    redact = redactor(job.secrets, job.rules, job.session)
    client, server = job.connections
    mark, found = summary.mark(job.row), {}
    error = job.error and {**job.error, "msg": redact.text(job.error["msg"])}

    thread = job.row.get("thread") or job.row.get("session")

    def hidden(at: int, encoding: str) -> bytes:
        # Both legs may have the same body: long ones are read once.
        body = job.bodies[at]
        if id(body) not in found:
            key = (job.secrets, job.rules, job.session, thread, at) if thread else None
            found[id(body)] = _hidden(body, encoding, redact, None if at % 2 else key)
        return found[id(body)]

    def message(fields: dict[str, Any], at: int) -> dict[str, Any]:
        headers = redact.headers(fields["headers"])
        coded = next((v for n, v in headers if n.lower() == b"content-encoding"), b"")
        content = hidden(at, coded.decode("ascii", "replace"))
        if coded and content is not job.bodies[at]:
            # What hides something is written as it reads.
            headers = [h for h in headers if h[0].lower() != b"content-encoding"]
        made = {**fields, "headers": headers, "content": content}
        if fields["trailers"]:
            made["trailers"] = redact.headers(fields["trailers"])
        if path := fields.get("path"):
            text = redact.path(path.decode("utf-8", "surrogateescape"))
            made["path"] = text.encode("utf-8", "surrogateescape")
        return made

    return [
        {
            **_blank(),
            "id": str(uuid.uuid4()),
            "error": error,
            "client_conn": client,
            "server_conn": server,
            "marked": mark,
            "comment": redact.text(summary.comment(name, job.row)),
            "timestamp_created": request["timestamp_start"],
            "request": message(request, 2 * at),
            "response": response and message(response, 2 * at + 1),
        }
        for at, (name, (request, response)) in enumerate(
            zip(("client", "upstream"), job.legs, strict=False)
        )
    ]


_searched = Searched()


def _hidden(body: bytes, encoding: str, redact: Redactor, key: Hashable) -> bytes:
    """``body`` itself where there is nothing to hide; else what it reads, with that hidden.

    ``key`` is that of a conversation's bodies; None for one that is like no other.
    """
    plain = body
    if encoding:
        with suppress(ValueError):
            plain = bytes(decode(body, encoding) or b"")  # type: ignore[arg-type]
    made = redact.deep(plain) if key is None else _searched.data(key, plain, redact.deep)
    return body if made == plain else made


@lru_cache(maxsize=1)
def _blank() -> dict[str, Any]:
    """What this version of mitmproxy says of any flow."""
    ends = Client(peername=("", 0), sockname=("", 0)), Server(address=None)
    flow = http.HTTPFlow(*ends)
    flow.request = http.Request.make("POST", "http://127.0.0.1")
    return flow.get_state()


def flows(job: Job) -> list[http.HTTPFlow]:
    """The legs of ``job`` as flows without keys."""
    made = []
    for state in states(job):
        # Making a flow takes its state apart.
        flow = http.HTTPFlow.from_state(copy.deepcopy(state))
        assert isinstance(flow, http.HTTPFlow)
        made.append(flow)
    return made


def written(job: Job) -> list[bytes]:
    """The flows of ``job`` as a flow file holds them, in pieces."""
    ends = [netstring.ready(end) for end in job.connections]
    made: list[bytes] = []
    for state in states(job):
        state["client_conn"], state["server_conn"] = ends
        made += netstring.pieces(state)
    return made


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
        self._lock, self._out = threading.Lock(), threading.Lock()
        self._trouble = ""
        threading.Thread(target=self._files.tidy, daemon=True).start()

    def begins(self) -> None:
        """Take what begins until the other end is closed."""
        while not self._over:
            select.select([self._source], [], [])
            if not self._urgent:
                time.sleep(_PAUSE)
            self._note([])

    def ends(self, jobs: Sequence[Job]) -> None:
        """Write down exchanges that have ended."""
        events, trouble = [], ""
        for job in jobs:
            path, why = self._files.path, "" if job.legs else _BEHIND
            try:
                if job.legs:
                    path = self._files.append(*written(job))
            except OSError as e:
                why = f"{self._files.path}: {e.strerror or e}"
            except Exception as e:
                why = f"{self._files.path}: an exchange could not be written: {e!r}"
            started, at = job.times
            data = msgspec.json.encode(ended(job.row, started, None if why else path.name))
            data = redactor(job.secrets, job.rules, job.session).deep(data)
            events.append(Event(END, at, str(job.row["exchange"]), data.decode()))
            trouble = why or trouble
        self._note(events)
        self._say(job=trouble, file=str(self._files.path))

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
    while jobs := receive(sys.stdin.buffer):
        recorder.ends(jobs)
        del jobs
    listens.join()
    recorder.close()


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Settings))
