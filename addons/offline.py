"""The chain without a network: what its stages make of a recorded turn today.

The stages are those of `addons.main` that decide from a request and a policy, and that make the
answer; who is up, what a classifier says, and the clock are the recording's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from addons import faults
from addons.compaction import Compaction
from addons.failover import Failover
from addons.prompt_rules import PromptRules
from addons.response_store import ResponseStore
from addons.route import Router
from addons.services import Services
from addons.state import State
from addons.translate import Translate
from shim.client import Facts
from shim.codex.login import LoginError
from shim.encodings import NO_LIMIT
from shim.exchange.answers import feeder
from shim.exchange.intake import read_intake
from shim.exchange.replies import refusal
from shim.exchange.upstream_request import NoTarget, destination
from shim.exchange.values import (
    ClientRequest,
    Conversation,
    Decision,
    Endpoint,
    Head,
    Intake,
    Outcome,
    Passage,
    Reply,
    Routing,
)
from shim.notes import Note
from shim.policy.load import MissingVariable
from shim.policy.schema import Policy, Provider
from shim.prompt.secrets import MASK
from shim.record import summary
from shim.record.redact import MARK
from shim.record.replay import (
    Difference,
    Made,
    Message,
    NotReplayable,
    Recorded,
    Replayed,
    compared,
)
from shim.route.auto import Pick
from shim.route.choose import Route
from shim.state import expand
from shim.state.store import Memory
from shim.turn import Turn, WireError

#: What a replay never asks.
_NOBODY = Provider("http://127.0.0.1:9/v1", key="none")
_KEY = "Bearer none"
_LOCAL = ("http", "127.0.0.1", 8080)
#: In the place of a policy that a recording does not tell: each turn takes its recorded route.
_NONE = Policy()


class Offline:
    """A chain under ``policy``, for recorded exchanges one after the other.

    ``recorded``: it is the policy under which they were recorded, so that each goes where it went.
    ``default`` is the model for names that the policy does not know.
    """

    def __init__(self, policy: Policy, *, recorded: bool, default: str | None = None) -> None:
        services = self._services = Services()
        services.policies.use(policy)
        services.default_model = default
        services.store.use(Memory())
        services.engines.provider = _nobody  # type: ignore[method-assign]
        services.breakers.closed = _nobody_is_left_alone  # type: ignore[method-assign]
        self._router = _Router(services, recorded)
        state = _State(services)
        #: As `addons.main` has them.
        self._stages: list[Any] = [
            state,
            PromptRules(services),
            self._router,
            Compaction(),
            Translate(services),
            Failover(services),
            ResponseStore(state),
        ]
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        """Let go of what it holds."""
        self._loop.close()

    def run(self, recorded: Recorded) -> Made:
        """What the stages make of an exchange. NotReplayable where they cannot take it."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._loop.run_until_complete(self._run(recorded))
        # Within mitmproxy, which has a loop of its own.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(self._loop.run_until_complete, self._run(recorded)).result()

    async def _run(self, recorded: Recorded) -> Made:
        try:
            intake = self._intake(recorded)
        except WireError as e:
            reply = refusal(recorded.request.path, e.status, str(e), param=e.param)
            return Made(None, None, reply.body, reply.status, failure=str(e))
        self._router.now = recorded
        try:
            return await self._made(recorded, intake)
        except faults.StageFault as e:
            raise NotReplayable(f"{e}: {e.__cause__!r}") from e

    async def _made(self, recorded: Recorded, intake: Intake) -> Made:
        decision, reply = await self._decide(intake)
        if reply:
            why = reply.failure.message if reply.failure else ""
            notes = list(decision.notes)
            return Made(decision.route, None, reply.body, reply.status, notes, why)
        upstream = decision.upstream
        assert upstream
        made = Made(decision.route, upstream.body, None, 0, list(decision.notes))
        was = recorded.upstream_response
        if was is None or decision.route is None or recorded.protocol != decision.route.protocol:
            return made
        answer, status, told = await self._answer(recorded, was, intake, decision)
        notes = [*made.notes, *told]
        return msgspec.structs.replace(made, answer=answer, status=status, notes=notes)

    def _intake(self, recorded: Recorded) -> Intake:
        policy = self._services.policies.in_force()
        intake = read_intake(_request(recorded), policy)
        if seed := recorded.row.get("seed"):
            intake.turn.seed = seed
        return msgspec.structs.replace(intake, codex=bool(recorded.row.get("codex")))

    async def _decide(self, intake: Intake) -> tuple[Decision, Reply | None]:
        decision = Decision(intake.turn)
        for stage in self._stages:
            if not hasattr(stage, "request"):
                continue
            result = await faults.call_async(stage, stage.request, intake, decision)
            reply = None
            if isinstance(result, tuple):
                result, reply = result
            decision = result or decision
            if isinstance(stage, PromptRules):
                decision = _with_masks(intake, decision)
            if reply:
                return decision, reply
        return decision, None

    async def _answer(
        self, recorded: Recorded, was: Message, intake: Intake, decision: Decision
    ) -> tuple[bytes, int, tuple[Note, ...]]:
        """What the client gets of the upstream's answer, its status, and what was noted."""
        head = Head(was.status, "", "HTTP/1.1", _fields(was.headers), was.headers, recorded.at)
        passage: Passage | None = None
        for stage in self._stages:
            if stage is not self._router and hasattr(stage, "responseheaders"):
                passage = stage.responseheaders(intake, decision, head, passage) or passage
        assert passage
        outcome = Outcome(upstream=head, passage=passage, status=was.status, ended=recorded.at)
        if passage.streams:
            sent = self._streamed(recorded, was, decision, passage)
            outcome = outcome.with_(sent=(sent,))
        else:
            outcome = outcome.with_(received=(was.body,))
        if not recorded.broke:
            for stage in self._stages:
                if hasattr(stage, "response"):
                    args = intake, decision, outcome
                    made = await faults.call_async(stage, stage.response, *args)
                    outcome = made or outcome
        if passage.streams:
            return outcome.sent[0], was.status, outcome.notes
        reply = outcome.reply
        if reply:
            return reply.body, reply.status, outcome.notes
        return was.body, was.status, outcome.notes

    def _streamed(
        self, recorded: Recorded, was: Message, decision: Decision, passage: Passage
    ) -> bytes:
        transcoder = passage.transcoder
        assert transcoder and decision.route
        try:
            out = feeder(passage, decision.route.provider, NO_LIMIT)(was.body)
        except WireError as e:
            raise NotReplayable(str(e)) from None
        return out if recorded.broke else out + transcoder.close()


class _Router(Router):
    """Routing that asks nobody: what it cannot know stands in the recording ``now``."""

    now: Recorded

    def __init__(self, services: Services, recorded: bool) -> None:
        super().__init__(services)
        self._recorded = recorded
        self.probe.check = _reachable  # type: ignore[method-assign]
        self._clock, self._destination = lambda: self.now.at, _anywhere

    async def request(self, intake: Intake, decision: Decision) -> Any:
        row = self.now.row.get("route")
        if row and row.get("provider") == "reverse":
            # An option says what its target speaks.
            self._upstream = row["protocol"]
        if self._services.policies.current() is not _NONE:
            return await super().request(intake, decision)
        if not row:
            raise NotReplayable("it has no route, and no policy to find one")
        route = msgspec.convert(row, Route)
        routing = self._destination(intake, decision.turn, None, route, None)
        return decision.with_(routing=routing)

    async def _auto(self, decision: Decision, policy: Policy) -> tuple[Decision, Pick]:
        route, auto = self.now.row.get("route") or {}, policy.auto
        name, reason = str(route.get("name")), str(route.get("reason"))
        if not reason.startswith("auto, ") or not auto or name not in policy.models:
            raise NotReplayable("whom auto would choose: the recording does not tell it")
        return decision, Pick(name, reason.removeprefix("auto, "))

    async def _choose(
        self,
        intake: Intake,
        decision: Decision,
        policy: Policy,
        candidates: list[Route],
        attempted: frozenset[str],
    ) -> Any:
        row, stages = self.now.row.get("route"), summary.stages(self.now.row)
        if row and (self._recorded or "failover" in stages):
            label = msgspec.convert(row, Route).label
            # Who was not well then was passed over.
            first = next((n for n, r in enumerate(candidates) if r.label == label), 0)
            candidates = candidates[first:]
        return await super()._choose(intake, decision, policy, candidates, attempted)


def _with_masks(intake: Intake, decision: Decision) -> Decision:
    """In a recording masks stand where there were secrets: they lead back to themselves."""
    found = {mask.decode() for mask in MASK.findall(intake.turn.body)}
    if not found:
        return decision
    masks = {**dict.fromkeys(found), **decision.edits.masks}
    made = {mask: secret or mask for mask, secret in masks.items()}
    return decision.with_(edits=msgspec.structs.replace(decision.edits, masks=made))


def _anywhere(
    intake: Intake,
    turn: Turn,
    facts: Facts | None,
    route: Route,
    provider: Provider | None,
    more: Mapping[str, str] | None = None,
) -> Routing:
    """Where a turn goes. Nothing is sent, so neither a key nor an address is needed."""
    try:
        return destination(intake, turn, facts, route, provider, more)
    except (MissingVariable, LoginError, NoTarget):
        return Routing(route, provider=provider, headers={"authorization": _KEY})


class _State(State):
    """A recorded turn holds all that it refers to."""

    async def request(self, intake: Intake, decision: Decision) -> Decision | None:
        turn = decision.turn
        if turn.protocol != "responses":
            return None
        id, own = expand.previous(turn), turn.fields["input"]
        conversation = Conversation(turn, own, parent=(id, "") if id else None)
        return decision.with_(conversation=conversation)


def _nobody_is_left_alone(provider: str) -> str:
    return ""


async def _reachable(endpoint: Endpoint) -> None:
    return None


async def _nobody(name: str) -> Provider:
    return _NOBODY


def _request(recorded: Recorded) -> ClientRequest:
    was, route = recorded.request, recorded.row.get("route") or {}
    headers = _without_coding(was.headers)
    if headers.get("authorization") == MARK:
        # What became of an answer may hang on whether it was a login.
        headers["authorization"] = _KEY
    url = urlsplit(was.url)
    host, port = url.hostname or "127.0.0.1", url.port or 80
    reverse = None
    if recorded.upstream_request and route.get("provider") == "reverse":
        target = urlsplit(recorded.upstream_request.url)
        reverse = (target.scheme, target.hostname or "", target.port or 80)
    proxied = reverse is not None and host == reverse[1] and host not in ("127.0.0.1", "localhost")
    return ClientRequest(
        id=recorded.name,
        method="POST",
        scheme=url.scheme or "http",
        host=host,
        port=port,
        authority=url.netloc,
        path=was.path,
        http_version="HTTP/1.1",
        fields=_fields(headers),
        headers=headers,
        peer="127.0.0.1",
        local=_LOCAL,
        reverse=reverse,
        started=recorded.at,
        received=recorded.at,
        body=was.body,
        proxied=proxied,
    )


def _without_coding(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "content-encoding"}


def _fields(headers: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    plain = _without_coding(headers).items()
    return tuple((k.encode("latin-1"), v.encode("latin-1", "replace")) for k, v in plain)


class Replayer:
    """Replays recorded exchanges, each under ``policy``, or under the one that its recording has; a
    context manager. ``default`` is the model for names that ``policy`` does not know."""

    def __init__(self, policy: Policy | None = None, default: str | None = None) -> None:
        self._policy, self._default = policy, default
        self._chains: dict[int, tuple[Policy, Offline]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for _, chain in self._chains.values():
            chain.close()

    def run(self, recorded: Recorded) -> Replayed:
        """``recorded`` against what becomes of it today."""
        policy = self._policy or recorded.policy
        if policy is None and (why := _needs_policy(recorded)):
            return Replayed(None, not_compared=f"{why} by a policy; give it by --policy")
        try:
            made = self._chain(policy or _NONE).run(recorded)
            same = self._policy is None and recorded.policy is not None
            return compared(recorded, made, decisions=same)
        except NotReplayable as e:
            return Replayed(None, [Difference(recorded.name, "request", 0, "a turn", str(e))])

    def _chain(self, policy: Policy) -> Offline:
        # Equal policies are one object: the readers of flows see to it.
        if id(policy) not in self._chains:
            given = self._policy is not None
            chain = Offline(policy, recorded=not given, default=self._default)
            self._chains[id(policy)] = policy, chain
        return self._chains[id(policy)][1]


def _needs_policy(recorded: Recorded) -> str:
    """What a policy did to an exchange that nobody can do again without it; empty for nothing."""
    row = recorded.row
    if row.get("edited"):
        return "its prompt was edited"
    if summary.repairs(row):
        return "its answer was repaired"
    if recorded.upstream_request is None:
        return "it was answered"
    return ""
