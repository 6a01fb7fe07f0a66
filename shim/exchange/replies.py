"""Answers of the chain's own, each in the client's own protocol."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from ..encodings import Limit
from ..record.redact import redactor
from ..shown import line, plain
from ..state.expand import is_compact
from ..turn import Failure, Turn
from ..wire.paths import protocol_of
from ..wire.protocols import codec
from ..wire.translate import error_answer
from .values import Intake, Reply

JSON = {"content-type": "application/json"}


def refusal(path: str, status: int, message: str, *, param: str | None = None) -> Reply:
    """A request to ``path`` refused before it was read as a turn."""
    # A host or a path may hold bytes that are no text, and be as long as they like.
    message = line(message)
    shape = codec(protocol_of(path) or "responses")
    body = shape.error_body(message, status=status, param=param)
    return Reply(status, JSON, body, Failure(message, status))


def refusal_of_size(path: str, limit: Limit) -> Reply:
    """A request to ``path`` whose body exceeds ``limit``."""
    return refusal(path, 413, limit.sentence("the request body has"))


def for_anybody(message: str, status: int) -> bytes:
    """The body of an error for a client whose protocol is not known: OpenAI's and Anthropic's in
    one."""
    kind = "api_error" if status >= 500 else "invalid_request_error"
    error = {"type": kind, "code": None, "message": message, "param": None}
    return msgspec.json.encode({"type": "error", "error": error})


def failed(intake: Intake, failure: Failure, secrets: Collection[str] = ()) -> Reply:
    """A turn that ends with ``failure`` before anything of an answer was sent. ``secrets`` are
    taken out of its message, with those of the intake."""
    hide = redactor(intake.secrets | frozenset(secrets))
    failure = msgspec.structs.replace(failure, message=plain(hide.text(failure.message), "\n\t"))
    return failure_reply(failure, intake.turn, codex=intake.codex)


def failure_reply(failure: Failure, turn: Turn, *, codex: bool) -> Reply:
    """``failure`` as the client of ``turn`` reads it."""
    answer = error_answer(failure, turn, codex=codex)
    return Reply(answer.status, answer.headers, answer.body or b"", failure)


def failed_field(intake: Intake, failure: Failure, param: str | None) -> Reply:
    """As `failed`, with the field named where the client's protocol has room for that."""
    reply = failed(intake, failure)
    if intake.codex or param is None:
        return reply
    told = reply.failure or failure
    body = codec(intake.turn.protocol).error_body(
        told.message,
        status=failure.status,
        type=failure.type or "invalid_request_error",
        code=failure.code or None,
        param=param,
    )
    return Reply(failure.status, JSON, body, told)


def protocol_at(path: str) -> str | None:
    """The protocol of a turn that is sent to ``path``; None where no turn is served."""
    return "responses" if is_compact(path) else protocol_of(path)
