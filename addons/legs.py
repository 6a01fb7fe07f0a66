"""The legs of an exchange as flows without keys, for flow files and for whoever looks at live ones.

Strategy: everything that an exchange says is searched at once. Only where something may hide, each
part is looked at by itself.
"""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from mitmproxy import http
from mitmproxy.connection import Client, Server

from addons.jobs import Job, Used
from shim.encodings import RECORDED, Limit, readable
from shim.policy.rules import RedactRule
from shim.policy.units import size
from shim.prompt.mask import Masks
from shim.prompt.secrets import Finder
from shim.record import netstring, packed, summary
from shim.record.bodies import Bodies, Body
from shim.record.redact import CLEAN, Redactor
from shim.record.redact import redactor as plain_redactor
from shim.strings import string_leaves

#: Encoded bodies are unpacked, searched and written up to so many bytes.
_MOST_BYTES = 64 * 1024 * 1024
#: What comes whole, encoded or for those who look at live flows, is searched where it is new, too.
_seen = Bodies()


@lru_cache(maxsize=64)
def redactor(
    secrets: frozenset[str], rules: bytes = b"", session: str = "", used: Used = (), sent: Used = ()
) -> Redactor:
    """The Redactor for ``secrets`` and a policy's ``rules`` (JSON), made once; ``used`` are secrets
    that a model has put where no rule would find them, each with its mask; ``sent`` are masks that
    secrets have already."""
    if not rules:
        return plain_redactor(secrets)
    finder, blobs = _finder(rules)
    masks = Masks(finder, session.encode() or b"interpose", as_json=True)
    for secret, mask in used:
        written = (json.dumps(secret, ensure_ascii=ascii)[1:-1] for ascii in (True, False))
        masks.table.used |= dict.fromkeys({secret, *written}, mask)
    masks.named = {secret.encode("utf-8", "surrogatepass"): mask for secret, mask in sent}
    return Redactor(secrets, masks, blobs)


@lru_cache(maxsize=16)
def _finder(rules: bytes) -> tuple[Finder, int | None]:
    made = msgspec.json.decode(rules, type=list[RedactRule])
    blobs = [size(rule.blobs_over) for rule in made if rule.blobs_over is not None]
    return Finder(made), min(blobs) if blobs else None


class Legs(NamedTuple):
    """An exchange without keys: the states of its flows, and what took them out."""

    states: list[dict[str, Any]]
    redact: Redactor


def legs(job: Job, limit: Limit = RECORDED) -> Legs:
    """The legs of ``job`` without keys, each with the row as its comment. A body that cannot be
    unpacked to ``limit`` cannot be searched: a sentence stands in its place."""
    redact = redactor(job.secrets, job.rules, job.session, job.used, job.sent)
    job, bodies = _read(job, limit)
    states = _states(job, CLEAN)
    found = redact.about(_texts(job, bodies, states))
    if found is not CLEAN:
        states = _states(job, redact)
    told: list[bytes | Body | None] = []
    for at, body in enumerate(bodies):
        # Where both legs have the same answer, it is searched once.
        same = at == 3 and body is bodies[1]
        told.append(told[1] if same else _told(job, body, redact, clean=found is CLEAN))
    for at, message in _messages(states):
        if (hidden := told[at]) is not None:
            # What hides something is written as it reads.
            message["headers"], message["content"] = packed.plain(message["headers"]), hidden
    return Legs(states, found)


def _told(job: Job, body: bytes | Body, redact: Redactor, *, clean: bool) -> bytes | Body | None:
    """``body`` with hidden what ``redact`` hides; None where it hides nothing."""
    if isinstance(body, Body):
        made = body.told(_stamp(job), redact.deep, clean=clean)
        return None if made is body else made
    hidden = body if clean else redact.deep(body)
    return None if hidden == body else hidden


def _messages(states: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each message of ``states``, and the number of its body."""
    for leg, state in enumerate(states):
        for at, name in enumerate(("request", "response")):
            if state[name]:
                yield 2 * leg + at, state[name]


def _stamp(job: Job) -> tuple[object, ...]:
    """What a body is searched for."""
    return job.secrets, job.rules, job.session, job.used, job.sent


def _read(job: Job, limit: Limit) -> tuple[Job, list[bytes | Body]]:
    """The bodies of ``job`` as they read, and the job without those that do not."""
    bodies: list[bytes | Body] = []
    for at in range(len(job.bodies)):
        body = job.bodies[at]
        if not isinstance(body, Body):
            if coding := job.coding(at):
                body, whole = readable(body, coding, limit)
                job = job if whole else job.with_body(at, body)
            key = job.conversation(at)
            body = _seen.take(key, body)[1] if key else body
        bodies.append(body)
    return job, bodies


def _texts(
    job: Job, bodies: Sequence[bytes | Body], states: list[dict[str, Any]]
) -> Iterator[bytes]:
    """Everything that ``job`` says, but for headers whose names tell that they are keys."""
    for _, message in _messages(states):
        for fields in (message["headers"], message["trailers"] or ()):
            yield from (value for _, value in fields)
        yield message.get("path", b"")
    told = (job.row, job.error)
    yield msgspec.json.encode(told)
    yield from (
        leaf.text.encode("utf-8", "surrogatepass") for leaf in string_leaves(told, free=True)
    )
    for at, body in enumerate(bodies):
        if at < 3 or body is not bodies[1]:
            yield body.unsearched(_stamp(job)) if isinstance(body, Body) else body


def _states(job: Job, redact: Redactor) -> list[dict[str, Any]]:
    """The legs of ``job`` as the states of flows without what ``redact`` takes out; their bodies
    are as they were."""
    client, server = job.connections
    mark = summary.mark(job.row)
    error = job.error and {**job.error, "msg": redact.text(job.error["msg"])}

    def message(fields: dict[str, Any], at: int) -> dict[str, Any]:
        made = {**fields, "headers": redact.headers(fields["headers"]), "content": job.bodies[at]}
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
            "comment": summary.comment(name, job.row, redact.text),
            "metadata": summary.metadata(name, job.row, redact.text),
            "timestamp_created": request["timestamp_start"],
            "request": message(request, 2 * at),
            "response": response and message(response, 2 * at + 1),
        }
        for at, (name, (request, response)) in enumerate(
            zip(("client", "upstream"), job.legs, strict=False)
        )
    ]


@lru_cache(maxsize=1)
def _blank() -> dict[str, Any]:
    """What this version of mitmproxy says of any flow."""
    ends = Client(peername=("", 0), sockname=("", 0)), Server(address=None)
    flow = http.HTTPFlow(*ends)
    flow.request = http.Request.make("POST", "http://127.0.0.1")
    return flow.get_state()


def flows(job: Job, limit: Limit = RECORDED) -> list[http.HTTPFlow]:
    """The legs of ``job`` as flows without keys; ``limit`` as for `legs`."""
    made = []
    states = legs(job, limit).states
    for _, message in _messages(states):
        message["content"] = bytes(message["content"])
    for state in states:
        # Making a flow takes its state apart.
        flow = http.HTTPFlow.from_state(copy.deepcopy(state))
        assert isinstance(flow, http.HTTPFlow)
        made.append(flow)
    return made


def policy_of(job: Job) -> str:
    """The policy of ``job`` as recordings tell it, without keys."""
    return _policy(job.policy, job.secrets, job.rules)


@lru_cache(maxsize=16)
def _policy(policy: bytes, secrets: frozenset[str], rules: bytes) -> str:
    return redactor(secrets, rules, "", ()).deep(policy).decode("utf-8", "replace")


def written(job: Job, legs: Legs) -> bytes:
    """The ``legs`` of ``job`` as a flow file holds them."""
    ends = [netstring.dumps(end) for end in job.connections]
    made: list[bytes] = []
    for _, message in _messages(legs.states):
        packs = packed.pack(message["headers"], message["content"])
        message["headers"], message["content"] = packs
    for state in legs.states:
        state["client_conn"], state["server_conn"] = ends
        made.append(netstring.dumps(state))
    return b"".join(made)
