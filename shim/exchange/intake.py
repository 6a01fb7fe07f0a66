"""A request's body read as a turn: what came, before anything is decided about it."""

from __future__ import annotations

from typing import Any

import msgspec

from .. import client
from ..encodings import NO_LIMIT, EncodingError, Limit, coding_of, decode
from ..policy.inforce import InForce
from ..prompt import capabilities
from ..state.compact import read_compact
from ..state.expand import is_compact
from ..turn import Turn, WireError
from ..wire.fields import top_level
from ..wire.paths import COUNT, split_path
from ..wire.protocols import codec
from .access import secrets_of
from .replies import protocol_at
from .values import ClientRequest, Intake


def read_intake(
    request: ClientRequest,
    policy: InForce,
    *,
    limit: Limit = NO_LIMIT,
    keys: frozenset[str] = frozenset(),
) -> Intake:
    """The turn in ``request``. WireError with the status and the field that is wrong; The body
    unpacks to ``limit``. ``keys`` are those of the policy and of the chain's clients."""
    protocol = protocol_at(request.path)
    if protocol is None:
        raise WireError("no turn is served at this path", status=404)
    headers = request.headers
    try:
        body = request.body
        if coding := coding_of(request.fields):
            body = decode(body, coding, limit)
    except EncodingError as e:
        raise WireError(str(e), status=e.status) from None
    compacts = is_compact(request.path)
    try:
        turn, own = _read(protocol, body, policy, compacts=compacts)
    except RecursionError:
        raise WireError("the request body is nested too deeply") from None
    return Intake(
        request=request,
        turn=turn,
        codex=client.is_codex(headers) and turn.protocol == "responses" and not compacts,
        counts=split_path(request.path)[1].endswith(COUNT),
        compacts=compacts,
        dedupe_key=_asks(request),
        requested_capabilities=own,
        secrets=secrets_of(request, keys),
        keys=keys,
    )


def _asks(request: ClientRequest) -> str:
    """Who asks, as nobody else can be called who asks with another key."""
    session, thread, _ = client.conversation(request.headers)
    return f"{request.owner}/{thread or session or request.peer}"


def _read(
    protocol: str, body: bytes, policy: InForce, *, compacts: bool
) -> tuple[Turn, dict[str, Any]]:
    """The turn in ``body``, and the capabilities it asks for."""
    if compacts:
        return read_compact(body), {}
    named = capabilities.FIELD.encode() in body
    if not named and not policy.reads_otherwise:
        return codec(protocol).read_request(body), {}
    fields = top_level(body)
    raw = fields.pop(capabilities.FIELD, None)
    own = capabilities.asked_for(raw) if raw is not None else {}
    wanted = own.get("protocol") or policy.client_protocol(fields.get("model"))
    if wanted:
        protocol = capabilities.PROTOCOLS[wanted]
    if raw is not None:
        body = msgspec.json.encode(fields)
    return codec(protocol).read_request(body), own
