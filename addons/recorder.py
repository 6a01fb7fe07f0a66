"""The recorder: writes exchanges to a flow file, in a process of its own beside the proxy.

Searching long bodies for keys and writing them takes as long as a turn takes to pass; in the
proxy's process every stream would wait for it. Frames come on stdin, each is answered with a line:
empty when the exchange is in the file, else what went wrong.
"""

from __future__ import annotations

import os
import pickle
import sys
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec
from mitmproxy import flow as mflow
from mitmproxy import http
from mitmproxy.connection import Client, Server
from mitmproxy.io import FlowWriter

from shim.policy.rules import RedactRule
from shim.policy.units import size
from shim.prompt.mask import Masks
from shim.prompt.secrets import Finder
from shim.record import summary
from shim.record.redact import Redactor

_SIZE = 8


type Leg = tuple[dict[str, Any], dict[str, Any] | None]


class Job(msgspec.Struct):
    """One exchange: its row, the states of its two connections, its legs as the fields of request
    and response without their bodies, the error if it broke off, the bodies beside them.

    ``rules`` is what the policy masks in recordings, ``session`` the key of its masks.
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

    @property
    def size(self) -> int:
        """Bytes it holds, about."""
        return sum(map(len, self.bodies))


def frame(job: Job) -> list[bytes]:
    """``job`` as it is sent: sizes, the small parts, then the bodies as they are."""
    small = (job.row, job.secrets, job.connections, job.legs, job.error, job.rules, job.session)
    head = pickle.dumps((*small, [len(b) for b in job.bodies]), protocol=5)
    return [len(head).to_bytes(_SIZE) + head, *job.bodies]


def receive(source: IO[bytes]) -> Job | None:
    """The next frame; None at the end."""
    size = source.read(_SIZE)
    if len(size) < _SIZE:
        return None
    head = pickle.loads(source.read(int.from_bytes(size)))
    row, secrets, connections, legs, error, rules, session, sizes = head
    bodies = [source.read(n) for n in sizes]
    return Job(row, secrets, connections, legs, error, bodies, rules, session)


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
        content = asked if clean else redact.data(asked)
        clean = content is asked
        leg.request.raw_content = content
        leg.request.path = redact.path(leg.request.path)
        leg.request.headers = http.Headers(redact.headers(leg.request.headers.fields))
        if leg.response:
            leg.response.raw_content = redact.data(answered)
            leg.response.headers = http.Headers(redact.headers(leg.response.headers.fields))
        if leg.error:
            leg.error = mflow.Error(redact.text(leg.error.msg), leg.error.timestamp)
        leg.comment, leg.marked = summary.comment(name, job.row), summary.mark(job.row)
        made.append(leg)
    return made


def _message(fields: dict[str, Any]) -> dict[str, Any]:
    trailers = fields["trailers"]
    return {
        **fields,
        "headers": http.Headers(fields["headers"]),
        "trailers": None if trailers is None else http.Headers(trailers),
    }


def append(path: Path, job: Job) -> None:
    """Put the exchange at the end of the flow file at ``path``. OSError when it cannot be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with open(descriptor, "ab") as file:
        writer = FlowWriter(file)
        for leg in flows(job):
            writer.add(leg)


def main(path: Path) -> None:
    """Serve frames until stdin ends, however the proxy ends."""
    # Nobody waits for the file; somebody waits for the next delta.
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    elif hasattr(os, "nice"):
        os.nice(15)
    while (job := receive(sys.stdin.buffer)) is not None:
        try:
            append(path, job)
            said = ""
        except OSError as e:
            said = f"{path}: {e.strerror or e}"
        except Exception as e:
            said = f"{path}: an exchange could not be written: {e!r}"
        print(said.replace("\n", " "), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
