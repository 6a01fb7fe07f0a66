"""Routing: which upstream a turn goes to, and whether that can be reached."""

from __future__ import annotations

import os
import ssl
import time
from pathlib import Path
from typing import cast

import certifi
import msgspec
from mitmproxy import ctx

from addons.engines import conversation_headers
from addons.fatal import fatal
from addons.services import Services
from addons.stage import Stage
from shim.client import Facts, began, conversation
from shim.codex.login import LoginError, offered
from shim.exchange.replies import failed, refusal
from shim.exchange.upstream_request import NoTarget, destination, to_reverse_target
from shim.exchange.values import (
    Access,
    Decision,
    Head,
    Intake,
    Outcome,
    Passage,
    Reply,
    Routing,
    UpstreamRequest,
)
from shim.policy.inforce import InForce
from shim.policy.load import MissingVariable, PolicyError
from shim.policy.schema import Health, Policy, Protocol
from shim.policy.units import seconds
from shim.prompt.capabilities import together
from shim.prompt.effort import with_effort
from shim.route import choose
from shim.route.ask import AskError, ask
from shim.route.auto import Choices, Pick, question, read_scores, task_of
from shim.route.choose import Route
from shim.route.decide import Decider, routes
from shim.route.failures import key
from shim.route.probe import Probe
from shim.route.rules import Asked
from shim.route.tried import tried_in
from shim.route.wayout import way_out
from shim.turn import Failure
from shim.wire.paths import PATHS

#: What a stage gives that may end a turn.
Result = Decision | tuple[Decision, Reply]


class Router(Stage):
    writes = frozenset({"turn", "routing", "side_usage"})
    waits = True

    def __init__(self, services: Services) -> None:
        self._services = services
        self._decider = Decider()
        self._choices = Choices()
        self.probe = Probe(_tls)
        self._upstream: Protocol = "responses"
        self._clock, self._destination = time.time, destination

    @property
    def name(self) -> str:
        return "route"

    def load(self, loader) -> None:  # type: ignore[no-untyped-def]
        loader.add_option(
            "policy",
            str,
            os.environ.get("INTERPOSE_POLICY", ""),
            "Policy file (YAML); also by the variable INTERPOSE_POLICY.",
        )
        loader.add_option(
            "default_model",
            str,
            "",
            "Model for names the policy does not know, instead of its own default.",
        )
        loader.add_option(
            "initial_model",
            str,
            "",
            "Model that answers where the policy's default is the offline demo.",
        )
        loader.add_option(
            "switch_file",
            str,
            "",
            "File that keeps the model switched to by /picker; empty: it is kept in memory.",
        )
        loader.add_option(
            "upstream",
            str,
            "responses",
            "Protocol of the target of --mode reverse:URL.",
            choices=tuple(PATHS),
        )

        extra = os.environ.get("SSL_CERT_FILE", "")
        if os.path.isfile(extra) and not ctx.options.ssl_verify_upstream_trusted_ca:
            ctx.options.update(ssl_verify_upstream_trusted_ca=extra)

    def configure(self, updated: set[str]) -> None:
        services = self._services
        if "policy" in updated:
            try:
                services.policies.open(ctx.options.policy or None)
            except PolicyError as e:
                fatal(str(e), running=services.running)
        if "switch_file" in updated:
            file = ctx.options.switch_file
            services.switch.open(Path(file).expanduser() if file else None)
        self._upstream = ctx.options.upstream
        services.initial_model = ctx.options.initial_model or None
        services.default_model = ctx.options.default_model or None
        if services.default_model:
            try:
                choose.choose(services.policies.current(), "", default=services.default_model)
            except choose.NoRoute as e:
                fatal(f"default_model: {e}", running=services.running)

    async def done(self) -> None:
        await self._services.engines.stop()

    def page(self, access: Access) -> Reply | UpstreamRequest | None:
        """A list of models that the chain does not have itself."""
        if access.kind != "models":
            return None
        try:
            return to_reverse_target(access.request)
        except NoTarget as e:
            return refusal(access.request.path, 404, str(e))

    async def request(self, intake: Intake, decision: Decision) -> Result:
        policy = self._services.policies.in_force()
        try:
            decision, candidates = await self._candidates(intake, decision, policy)
        except choose.NoRoute as e:
            failure = Failure(str(e), 404, "model_not_found", "invalid_request_error")
            return decision, failed(intake, failure)
        attempted = tried_in(intake.request.path)
        recent = None
        failures = self._services.failures
        if failures and (recent := failures.recall(key(intake.dedupe_key, intake.turn))):
            attempted |= recent[1]
        left = [route for route in candidates if route.label not in attempted]
        if recent and not left:
            decision = decision.with_(routing=Routing(candidates[-1], attempted=attempted))
            decision = decision.note(self.name, "recent", "answered from what failed a moment ago")
            return decision, failed(intake, recent[0])
        return await self._choose(
            intake, decision, policy.policy, left or candidates[:1], attempted
        )

    async def _candidates(
        self, intake: Intake, decision: Decision, policies: InForce
    ) -> tuple[Decision, list[Route]]:
        """The candidates for a turn, in order. NoRoute when its model's name means nothing."""
        policy, turn, services = policies.policy, decision.turn, self._services
        default, switched = services.default(policy), services.switch.now()
        own: Protocol = self._upstream
        if intake.request.proxied:
            # The client's own provider is the default, and it speaks what the client speaks.
            own = cast(Protocol, turn.protocol)
            default = default or f"reverse:{turn.model}"
            if not turn.model or turn.model in policy.models.keys() - offered(policy).keys():
                policy, default = Policy(), None
        if policy.empty and not default:
            return decision, [choose.choose(policy, turn.model, reverse=own)]
        thread = conversation(intake.headers)[1] or ""
        facts = decision.facts or Facts(started=began(thread) if switched else None)
        asked = Asked(turn, intake.headers, facts, decision.edits.tags, self._clock())
        choice = self._decider.decide(policy, policies.routes, asked, default, switched)
        cheaper = next((v for v in decision.verdicts if v.state == "cheaper" and v.to), None)
        if cheaper and cheaper.to and not choice.explicit:
            reason = f"the limit {cheaper.label}"
            choice = msgspec.structs.replace(choice, names=(cheaper.to,), reason=reason, auto=False)
        if choice.auto:
            decision, picked = await self._auto(decision, policy)
            reason = f"auto, {picked.reason}"
            choice = msgspec.structs.replace(choice, names=(picked.model,), reason=reason)
        if choice.effort:
            decision = decision.with_(turn=with_effort(turn, choice.effort))
            text = f"effort {choice.effort}, named behind the model"
            decision = decision.note(self.name, "effort", text)
        candidates = routes(policy, choice.names, turn.model, choice.reason, own)
        if not candidates:
            raise choose.NoRoute(f"no model {choice.names[0]!r} in the policy")
        return decision, candidates

    async def _auto(self, decision: Decision, policy: Policy) -> tuple[Decision, Pick]:
        """Whom auto gives the turn to; the classifier is asked where nothing is known yet."""
        auto, task = policy.auto, task_of(decision.turn)
        assert auto
        thread = decision.facts.thread if decision.facts else ""
        try:
            if known := self._choices.known(policy, thread, task):
                return decision, known
            try:
                demo = None
                if _is_demo(policy, auto.classifier):
                    demo = await self._services.engines.provider("demo")
                answer = await ask(
                    policy,
                    auto.classifier,
                    question(auto, task),
                    timeout=seconds(auto.timeout),
                    demo=demo,
                )
                if answer.usage:
                    used = (*decision.side_usage, (auto.classifier, answer.usage))
                    decision = decision.with_(side_usage=used)
                scores = read_scores(auto, answer.text)
            except (AskError, ValueError) as e:
                decision = decision.note(self.name, "unscored", f"auto got no scores: {e}")
                return decision, self._choices.failed(policy, thread, task, str(e))
            return decision, self._choices.scored(policy, thread, task, scores)
        except ValueError as e:
            raise choose.NoRoute(str(e)) from None

    async def _choose(
        self,
        intake: Intake,
        decision: Decision,
        policy: Policy,
        candidates: list[Route],
        attempted: frozenset[str],
    ) -> Result:
        """The first candidate that is up; the client is told when none is."""
        waiting = list(candidates)
        skipped: list[Route] = []
        skip = True
        failure: Failure | None = None
        while waiting or skipped:
            if not waiting:
                # All were left alone: then the first of them is as good as any.
                waiting, skipped, skip = skipped, [], False
            route = waiting.pop(0)
            others = waiting or skipped
            if skip and others and (why := self._services.breakers.closed(route.provider)):
                text = f"{route.label} passed over: {why}"
                decision = decision.note("failover", "skipped", text)
                skipped.append(route)
                continue
            decision, tried = await self._try(intake, decision, route, policy)
            if isinstance(tried, Routing):
                after = candidates[candidates.index(route) + 1 :]
                remaining = tuple(r for r in after if r is not route)
                routing = msgspec.structs.replace(tried, remaining=remaining, attempted=attempted)
                text = f"{route.provider}/{route.model} by {route.reason}"
                decision = decision.with_(routing=routing).note(self.name, "chosen", text)
                return decision
            failure = tried
            decision = decision.note("failover", "failed", failure.message)
            attempted |= {route.label}
        assert failure
        decision = decision.with_(routing=Routing(route, attempted=attempted))
        return decision, failed(intake, failure)

    async def _try(
        self, intake: Intake, decision: Decision, route: Route, policy: Policy
    ) -> tuple[Decision, Routing | Failure]:
        """The way to one candidate, or why it cannot answer."""
        provider = policy.providers.get(route.provider)
        wanted = together(
            intake.requested_capabilities, provider.capabilities if provider else None
        )
        settings = provider.health if provider else Health()
        verbatim, turn = False, decision.turn
        if wanted and wanted.codex_passthrough:
            # The client's own bytes, whatever the provider speaks.
            protocol = cast(Protocol, intake.turn.protocol)
            route = msgspec.structs.replace(route, protocol=protocol, third_party=False)
            by_policy = provider and provider.capabilities
            if not decision.edits.changed or (by_policy and by_policy.codex_passthrough):
                # What the policy made of the prompt is not for a request to undo.
                verbatim, turn = True, intake.turn
        agent = provider is None and route.provider in policy.agents
        if agent or (route.provider == "demo" and provider is None):
            provider = await self._services.engines.provider(route.provider)
        if intake.counts and route.protocol != turn.protocol:
            # Nobody else counts in the words of Messages: translate answers.
            return decision, Routing(route, capabilities=wanted, verbatim=verbatim)
        more = conversation_headers(intake) if agent else None
        try:
            routing = self._destination(intake, turn, decision.facts, route, provider, more)
        except MissingVariable as e:
            text = (
                f"{route.provider}: its key or address needs the variable {e.name}, "
                "which is not set where the chain runs"
            )
            if self._services.daemon():
                text += "; export it and run `interpose restart`"
            return decision, Failure(text, 401, "missing_key", "authentication_error")
        except LoginError as e:
            text = f"{route.provider}: {e}"
            return decision, Failure(text, 401, "missing_login", "authentication_error")
        except NoTarget as e:
            failure = Failure(str(e), 404, "model_not_found", "invalid_request_error")
            return decision, failure
        if routing.hop != routing.upstream:
            text = f"by way of the proxy {routing.hop[1]}:{routing.hop[2]}"
            decision = decision.note(self.name, "proxy", text)
        if agent and (tools := len(turn.tools)):
            text = f"{tools} tools of the client left out: an agent has its own"
            decision = decision.note(self.name, "left_out", text)
        if why := await self.probe.check(routing.hop):
            failure = Failure(f"{route.provider}: {why}", 502, "upstream_unreachable")
            self._services.breakers.bad(route.provider, failure.message, settings)
            return decision, failure
        decision = decision.with_(turn=turn)
        return decision, msgspec.structs.replace(routing, capabilities=wanted, verbatim=verbatim)

    def proxy_authorization(self, host: str) -> str:
        """What the proxy on the way to ``host`` wants to see; empty: nothing."""
        way = way_out("https", host) or way_out("http", host)
        return way.authorization if way else ""

    def responseheaders(
        self, intake: Intake, decision: Decision, head: Head, passage: Passage | None
    ) -> None:
        if decision.routing:
            self.probe.answered(decision.routing.hop)

    def error(self, intake: Intake, decision: Decision, outcome: Outcome) -> None:
        if decision.routing and outcome.upstream is None:
            self.probe.failed(decision.routing.hop)


def _is_demo(policy: Policy, name: str) -> bool:
    model = policy.models.get(name)
    return model.provider == "demo" if model else name.startswith("demo:")


def _tls() -> ssl.SSLContext:
    """Trust what mitmproxy trusts when it connects."""
    context = ssl.create_default_context(
        cafile=ctx.options.ssl_verify_upstream_trusted_ca
        or (None if ctx.options.ssl_verify_upstream_trusted_confdir else certifi.where()),
        capath=ctx.options.ssl_verify_upstream_trusted_confdir,
    )
    if ctx.options.ssl_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
