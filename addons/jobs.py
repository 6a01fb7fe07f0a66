"""Exchanges on their way to the recorder: what it is told, and how that goes through a pipe.

Of a conversation's bodies only what is new is sent: both ends remember the last ones.
"""

from __future__ import annotations

import pickle
from collections.abc import Hashable, Sequence
from typing import IO, Any

import msgspec

from shim.encodings import coding_of
from shim.record.bodies import Bodies, Body, Part, alone, unpacked
from shim.record.packed import LEAST, plain

_SIZE = 8

#: Secrets, each with its mask.
type Used = tuple[tuple[str, str], ...]
type Leg = tuple[dict[str, Any], dict[str, Any] | None]


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

    ``rules`` is what the policy masks in recordings, ``session`` the key of its masks, ``used`` the
    secrets that a model has put to use, ``sent`` those in whose place masks left, each with its
    mask; ``times`` are when it began and ended. ``policy`` is what was in force, as JSON.
    ``bodies`` are the request's and the response's of each leg in turn. The second leg, if there
    is one, is the upstream's. Without legs only the journal is told.
    """

    row: dict[str, Any]
    secrets: frozenset[str]
    connections: tuple[dict[str, Any], dict[str, Any]]
    legs: list[Leg]
    error: dict[str, Any] | None
    bodies: Sequence[bytes | Body]
    rules: bytes = b""
    session: str = ""
    used: Used = ()
    times: tuple[float, float] = (0.0, 0.0)
    policy: bytes = b""
    sent: Used = ()

    @property
    def size(self) -> int:
        """Bytes it holds, about."""
        return sum(map(len, self.bodies))

    def coding(self, at: int) -> str:
        """How the body ``at`` is encoded; empty where it is not."""
        fields = self.legs[at // 2][at % 2] or {}
        return coding_of(fields.get("headers", ()))

    def with_body(self, at: int, body: bytes) -> Job:
        """The same with ``body`` in the place of the one ``at``, which is not encoded."""
        bodies = [*self.bodies[:at], body, *self.bodies[at + 1 :]]
        pair = list(self.legs[at // 2])
        pair[at % 2] = {**(fields := pair[at % 2] or {}), "headers": plain(fields["headers"])}
        legs = [*self.legs[: at // 2], tuple(pair), *self.legs[at // 2 + 1 :]]
        return msgspec.structs.replace(self, legs=legs, bodies=bodies)

    def conversation(self, at: int) -> Hashable:
        """What names those bodies of which the one ``at`` is likely to be the next; None where
        nothing does."""
        thread = self.row.get("thread") or self.row.get("session")
        return None if at % 2 or not thread else (thread, at)


class Sender:
    """The proxy's end."""

    def __init__(self) -> None:
        self._bodies = Bodies()

    def frame(self, jobs: Sequence[Job]) -> list[bytes]:
        """``jobs`` as they are sent: a size, the small parts, then what is new in the bodies."""
        small, pieces = [], []
        for job in jobs:
            told: list[object] = []
            for at, body in enumerate(job.bodies):
                if at == 3 and body == job.bodies[1]:
                    # Where both legs speak one protocol, they often say the same.
                    told.append(None)
                    continue
                how, piece = self._sent(job, at, bytes(body))
                told.append(how)
                pieces.append(piece)
            parts = (job.row, job.secrets, job.connections, job.legs, job.error, told)
            small.append(
                (*parts, job.rules, job.session, job.used, job.times, job.policy, job.sent)
            )
        head = pickle.dumps(small, protocol=5)
        return [len(head).to_bytes(_SIZE) + head, *filter(None, pieces)]

    def _sent(self, job: Job, at: int, body: bytes) -> tuple[object, bytes]:
        """How the body ``at`` is sent, and what is."""
        if job.coding(at):
            return len(body), body
        if key := job.conversation(at):
            part, _ = self._bodies.take(key, body)
            return (key, part.front, len(part.new), part.back, len(body)), part.new
        if len(body) < LEAST:
            return len(body), body
        frame = alone(body).packed()
        return (len(frame),), frame


class Receiver:
    """The recorder's end: ``source`` is what the proxy writes to."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._bodies = Bodies()

    def jobs(self) -> list[Job]:
        """The next jobs; none at the end, and where the proxy was ended in the middle of them."""
        length = self._read(_SIZE)
        head = None if length is None else self._read(int.from_bytes(length))
        if head is None:
            return []
        jobs: list[Job] = []
        for row, secrets, ends, legs, error, told, *more in pickle.loads(head):
            bodies: list[bytes | Body] = []
            for how in told:
                if how is None:
                    bodies.append(bodies[1])
                elif (body := self._body(how)) is not None:
                    bodies.append(body)
                else:
                    return jobs
            jobs.append(Job(row, secrets, ends, legs, error, bodies, *more))
        return jobs

    def _body(self, how: Any) -> bytes | Body | None:
        """The next body; None where it was not sent to its end."""
        if isinstance(how, int):
            return self._read(how)
        if len(how) == 1:
            frame = self._read(*how)
            return None if frame is None else unpacked(frame)
        key, front, size, back, whole = how
        if (new := self._read(size)) is None:
            return None
        made = self._bodies.put(key, Part(front, new, back))
        if len(made) != whole:
            raise ValueError(f"a body of {whole} bytes became one of {len(made)}")
        return made

    def _read(self, size: int) -> bytes | None:
        data = self._source.read(size)
        return data if len(data) == size else None
