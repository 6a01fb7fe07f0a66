"""The way back: how an upstream's answer goes on to the client, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from ..client import facts_of
from ..codex.login import brings_login
from ..encodings import EncodingError, Limit, Unpacker, coding_of, decode
from ..policy.schema import Policy
from ..prompt import capabilities
from ..repair.turn import rules_for
from ..turn import WireError
from ..wire.protocols import Caching
from ..wire.translate import STREAM, Translation, count_answer
from ..wire.unmask import Unmask
from .conceal import concealed_body, hidden_from_client
from .replies import JSON, failed
from .upstream_request import fields_of, kept_fields
from .values import Decision, Head, Intake, Outcome, Passage, Reply

_STAGE = "translate"
#: Fields about the bytes of a body, which are others once a key is taken out.
_OF_BODY = (b"content-encoding", b"content-length", b"etag", b"content-md5", b"digest")


def prepare(
    intake: Intake, decision: Decision, policy: Policy, caching: Caching | None
) -> Decision:
    """``decision`` with the translation that its route needs; capabilities change the turn."""
    routing = decision.routing
    assert routing
    wanted, turn, edits = routing.capabilities, decision.turn, decision.edits
    if wanted and not wanted.codex_passthrough:
        facts = facts_of(intake.headers, intake.turn)
        if decision.facts and decision.facts.project:
            # As the policy's masks have it.
            facts = msgspec.structs.replace(facts, project=decision.facts.project)
        date = time.strftime("%Y-%m-%d", time.localtime(facts.started or intake.request.started))
        turn, notes = capabilities.apply(turn, wanted, facts, date)
        for text in notes:
            edits = msgspec.structs.replace(edits, changed=True)
            decision = decision.note("capabilities", "changed", text)
    masks, names = (edits.masks, edits.names) if not routing.verbatim else ({}, {})
    translation = Translation(
        turn,
        routing.route,
        codex=intake.codex,
        all_calls=bool(wanted and wanted.bypass_tool_call_reactor),
        unmask=Unmask(masks, names),
        told=intake.turn if edits.changed else None,
        repair=rules_for(
            policy.repair, routing.route, wanted.tool_text_format if wanted else "none"
        ),
        caching=caching,
        renews=brings_login(intake.headers),
    )
    return decision.with_(turn=turn, edits=edits, translation=translation)


def counted(decision: Decision) -> Reply:
    """The answer to a request for a turn's tokens, where its upstream does not count."""
    return Reply(200, JSON, count_answer(decision.turn))


def passage(intake: Intake, decision: Decision, head: Head) -> Passage:
    """How the answer with this head goes on to the client."""
    translation = decision.translation
    assert translation
    if intake.counts:
        return Passage(None, False, head.fields)
    transcoder, encoding = decision.transcoder, coding_of(head.fields)
    if not translation.streams(head.status, head.headers):
        return Passage(transcoder, False, head.fields)
    if translation.translates:
        headers = {"content-type": STREAM, "cache-control": "no-cache"}
        if request_id := head.headers.get("x-request-id"):
            headers["x-request-id"] = request_id
        if translation.warning:
            headers["warning"] = translation.warning
        return Passage(transcoder, True, fields_of(headers), encoding)
    # It is read on its way, so it goes on as it reads.
    fields = tuple(f for f in kept_fields(head.fields) if f[0].lower() != b"content-encoding")
    if decision.turn.model != translation.route.model:
        # Codex takes another name there for a re-routing and warns of a flagged account.
        fields = tuple(f for f in fields if f[0].lower() != b"openai-model")
    return Passage(transcoder, True, fields, encoding)


def feeder(passage: Passage, upstream: str, limit: Limit) -> Callable[[bytes], bytes]:
    """How the pieces of an answer that streams are fed. WireError (502) that names the ``upstream``
    where they are not encoded as their header says; behind a failure nothing is unpacked."""
    transcoder = passage.transcoder
    assert transcoder
    try:
        unpacker = Unpacker(passage.encoding, limit)
    except EncodingError as e:
        raise WireError(f"{upstream}: {e}", status=502) from None
    if not unpacker:
        return transcoder.feed

    def feed(data: bytes) -> bytes:
        out = []
        try:
            for piece in unpacker.feed(data):
                out.append(transcoder.feed(piece))
                if transcoder.failure:
                    break
        except EncodingError as e:
            raise WireError(f"{upstream}: {e}", status=502) from None
        return b"".join(out)

    return feed


def whole(
    intake: Intake, decision: Decision, passage: Passage, outcome: Outcome, limit: Limit
) -> Outcome:
    """``outcome`` of an answer that came whole and unpacks to ``limit``, with what the client gets
    of it; no reply means that it gets the upstream's own bytes."""
    translation, transcoder, head = decision.translation, passage.transcoder, outcome.upstream
    assert translation and head
    if transcoder is None:
        return _passed(intake, decision, outcome, limit)
    try:
        body = decode(b"".join(outcome.received), coding_of(head.fields), limit)
    except EncodingError as e:
        raise WireError(f"{translation.route.provider}: {e}", status=502) from None
    url = decision.upstream.url if decision.upstream else ""
    answer = translation.answer(transcoder, head.status, head.headers, body, url)
    outcome = _with_transcoded(outcome, passage)
    keys = hidden_from_client(intake, decision)
    if answer is None or answer.body is None:
        outcome = _concealed(outcome, head, body, keys)
    if answer is None:
        return outcome
    failure = answer.failure
    # What no client takes for a failure is one in the client's own words, too; and who is sent
    # elsewhere would send its whole prompt there, past the policy.
    unnoticed = answer.body is None and head.status < 400
    if failure and (unnoticed or (answer.body is not None and transcoder.failure is None)):
        secrets = decision.routing.secrets if decision.routing else ()
        reply = failed(intake, failure, secrets)
        failure = reply.failure
        return outcome.with_(failure=failure, reply=reply, status=reply.status)
    if answer.body is None:
        return outcome.with_(failure=failure)
    shown = concealed_body(answer.body, answer.status, keys)
    reply = Reply(answer.status, answer.headers, shown, failure)
    return outcome.with_(failure=failure, reply=reply, status=reply.status)


def _passed(intake: Intake, decision: Decision, outcome: Outcome, limit: Limit) -> Outcome:
    """``outcome`` of an answer that nobody reads, such as a count of tokens."""
    head, keys = outcome.upstream, hidden_from_client(intake, decision)
    assert head
    try:
        body = decode(b"".join(outcome.received), coding_of(head.fields), limit)
    except EncodingError:
        # What the client cannot read tells it no key.
        return outcome
    return _concealed(outcome, head, body, keys)


def _concealed(outcome: Outcome, head: Head, body: bytes, keys: frozenset[str]) -> Outcome:
    """``outcome`` with another body for one that passes with one of ``keys`` in it."""
    shown = concealed_body(body, head.status, keys)
    if shown == body:
        return outcome
    fields = [f for f in kept_fields(head.fields) if f[0].lower() not in _OF_BODY]
    headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in fields}
    return outcome.with_(reply=Reply(head.status, headers, shown, outcome.failure))


def streamed(passage: Passage, outcome: Outcome) -> Outcome:
    """``outcome`` of an answer that went on in pieces."""
    transcoder = passage.transcoder
    failure = outcome.failure or (transcoder.failure if transcoder else None)
    return _with_transcoded(outcome, passage).with_(failure=failure)


def _with_transcoded(outcome: Outcome, passage: Passage) -> Outcome:
    transcoder = passage.transcoder
    if transcoder is None:
        return outcome
    for text in transcoder.repaired:
        outcome = outcome.note("repair", "repaired", text)
    return outcome.with_(
        usage=transcoder.usage, calls=transcoder.calls, response=transcoder.response
    )
