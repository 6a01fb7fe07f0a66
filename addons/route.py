"""Routing: which upstream a turn goes to, whether it can be reached, and with which headers."""

from __future__ import annotations

import os
import ssl
import time
from pathlib import Path
from typing import cast

import certifi
import msgspec
from mitmproxy import ctx, http

from addons.aim import NoTarget, aim, request_to, reverse_target
from addons.exchange import Chain, Exchange, exchange_of, is_ours, refuse, tail
from addons.stop import stop
from shim.client import Facts, began
from shim.codex.login import LoginError, offered
from shim.policy.inforce import InForce
from shim.policy.load import MissingVariable, PolicyError
from shim.policy.schema import Health, Policy, Protocol
from shim.policy.store import PolicyStore
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
from shim.route.switch import Switch
from shim.route.tried import tried_in
from shim.route.wayout import way_out
from shim.turn import Failure
from shim.wire.protocols import PATHS


class Router:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._decider = Decider()
        self._choices = Choices()
        self._probe = Probe(_tls)
        self._upstream: Protocol = "responses"

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
        if "policy" in updated:
            try:
                self._chain.policies = PolicyStore(ctx.options.policy or None)
            except PolicyError as e:
                stop(str(e), running=self._chain.running)
        if "switch_file" in updated:
            file = ctx.options.switch_file
            self._chain.switch = Switch(Path(file).expanduser() if file else None)
        self._upstream = ctx.options.upstream
        self._chain.initial_model = ctx.options.initial_model or None
        self._chain.default_model = ctx.options.default_model or None
        if self._chain.default_model:
            try:
                choose.choose(self._chain.policies.current(), "", default=self._chain.default_model)
            except choose.NoRoute as e:
                stop(f"default_model: {e}", running=self._chain.running)

    async def done(self) -> None:
        await self._chain.engines.stop()

    async def request(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if flow.response:
            return
        if exchange is None:
            if tail(flow.request.path) == "models" and is_ours(flow):
                request = flow.request
                try:
                    target = reverse_target(flow)
                except NoTarget as e:
                    refuse(flow, 404, str(e))
                    return
                flow.request = request_to(request, *target, request.path, request.headers.copy())
            return
        stands = self._chain.policies.in_force()
        try:
            routes = await self._routes(exchange, stands)
        except choose.NoRoute as e:
            exchange.fail(flow, Failure(str(e), 404, "model_not_found", "invalid_request_error"))
            return
        exchange.tried = tried_in(exchange.client_request.path)
        lately = None
        if self._chain.failures and (lately := self._chain.failures.recall(_key(exchange))):
            exchange.tried |= lately[1]
        left = [route for route in routes if route.label not in exchange.tried]
        if lately and not left:
            exchange.route = routes[-1]
            exchange.decide("route", "answered from what failed a moment ago")
            exchange.fail(flow, lately[0])
            return
        await self._take(flow, exchange, stands.policy, left or routes[:1])
        exchange.passed.add("route")

    async def _routes(self, exchange: Exchange, stands: InForce) -> list[Route]:
        """The candidates for a turn, in order. NoRoute when its model's name means nothing."""
        policy, turn = stands.policy, exchange.turn
        default, switched = self._chain.default(policy), self._chain.switch.now()
        own: Protocol = self._upstream
        if exchange.proxied:
            # The client's own provider is the default, and it speaks what the client speaks.
            own = cast(Protocol, turn.protocol)
            default = default or f"reverse:{turn.model}"
            if not turn.model or turn.model in policy.models.keys() - offered(policy).keys():
                policy, default = Policy(), None
        if policy.empty and not default:
            return [choose.choose(policy, turn.model, reverse=own)]
        facts = exchange.facts or Facts(started=began(exchange.who) if switched else None)
        asked = Asked(turn, exchange.headers, facts, exchange.tags, time.time())
        choice = self._decider.decide(policy, stands.routes, asked, default, switched)
        cheaper = next((v for v in exchange.verdicts if v.state == "cheaper" and v.to), None)
        if cheaper and cheaper.to and not choice.explicit:
            reason = f"the limit {cheaper.label}"
            choice = msgspec.structs.replace(choice, names=(cheaper.to,), reason=reason, auto=False)
        if choice.auto:
            picked = await self._auto(exchange, policy)
            reason = f"auto, {picked.reason}"
            choice = msgspec.structs.replace(choice, names=(picked.model,), reason=reason)
        if choice.effort:
            exchange.turn = with_effort(turn, choice.effort)
            exchange.decide("route", f"effort {choice.effort}, named behind the model")
        found = routes(policy, choice.names, turn.model, choice.reason, own)
        if not found:
            raise choose.NoRoute(f"no model {choice.names[0]!r} in the policy")
        return found

    async def _auto(self, exchange: Exchange, policy: Policy) -> Pick:
        """Whom auto gives the turn to; the classifier is asked where nothing is known yet."""
        auto, task = policy.auto, task_of(exchange.turn)
        assert auto
        thread = exchange.facts.thread if exchange.facts else ""
        try:
            if known := self._choices.known(policy, thread, task):
                return known
            try:
                demo = None
                if _is_demo(policy, auto.classifier):
                    demo = await self._chain.engines.provider("demo")
                said = await ask(
                    policy,
                    auto.classifier,
                    question(auto, task),
                    timeout=seconds(auto.timeout),
                    demo=demo,
                )
                if said.usage:
                    exchange.also_used.append((auto.classifier, said.usage))
                scores = read_scores(auto, said.text)
            except (AskError, ValueError) as e:
                exchange.decide("route", f"auto got no scores: {e}")
                return self._choices.failed(policy, thread, task, str(e))
            return self._choices.scored(policy, thread, task, scores)
        except ValueError as e:
            raise choose.NoRoute(str(e)) from None

    async def _take(
        self, flow: http.HTTPFlow, exchange: Exchange, policy: Policy, routes: list[Route]
    ) -> None:
        """Aim at the first candidate that is up; the client is told when none is."""
        waiting = list(routes)
        passed_over: list[Route] = []
        failure: Failure | None = None
        while waiting or passed_over:
            if not waiting:
                # All were left alone: then the first of them is as good as any.
                waiting, passed_over, skip = passed_over, [], False
            else:
                skip = True
            route = waiting.pop(0)
            others = waiting or passed_over
            if skip and others and (why := self._chain.breakers.closed(route.provider)):
                exchange.decide("failover", f"{route.label} passed over: {why}")
                passed_over.append(route)
                continue
            failure = await self._try(flow, exchange, route, policy)
            if failure is None:
                at = routes.index(route)
                exchange.left = [r for r in routes[at + 1 :] if r is not route]
                exchange.decide("route", f"{route.provider}/{route.model} by {route.reason}")
                return
            exchange.decide("failover", failure.message)
            exchange.tried |= {route.label}
        assert failure
        exchange.fail(flow, failure)

    async def _try(
        self, flow: http.HTTPFlow, exchange: Exchange, route: Route, policy: Policy
    ) -> Failure | None:
        """Aim at one candidate; why it cannot answer, None when it can be reached."""
        provider = policy.providers.get(route.provider)
        wanted = together(exchange.wants, provider.capabilities if provider else None)
        exchange.capabilities = wanted
        if wanted and wanted.codex_passthrough:
            # The client's own bytes, whatever the provider speaks.
            protocol = exchange.asked.protocol
            route = msgspec.structs.replace(route, protocol=protocol, third_party=False)
            by_policy = provider and provider.capabilities
            if not exchange.edited or (by_policy and by_policy.codex_passthrough):
                # What the policy made of the prompt is not for a request to undo.
                exchange.turn, exchange.names, exchange.masks = exchange.asked, {}, {}
        exchange.route = route
        agent = provider is None and route.provider in policy.agents
        if agent or (route.provider == "demo" and provider is None):
            provider = await self._chain.engines.provider(route.provider)
        if exchange.counts and route.protocol != exchange.turn.protocol:
            # Nobody else counts in the words of Messages: translate answers.
            return None
        try:
            aim(flow, exchange, provider)
        except MissingVariable as e:
            said = (
                f"{route.provider}: its key or address needs the variable {e.name}, "
                "which is not set where the chain runs"
            )
            if self._chain.daemon():
                said += "; export it and run `interpose restart`"
            return Failure(said, 401, "missing_key", "authentication_error")
        except LoginError as e:
            said = f"{route.provider}: {e}"
            return Failure(said, 401, "missing_login", "authentication_error")
        except NoTarget as e:
            return Failure(str(e), 404, "model_not_found", "invalid_request_error")
        if agent:
            self._chain.engines.tell(flow, exchange)
        assert exchange.endpoint
        if why := await self._probe.check(exchange.endpoint):
            failure = Failure(f"{route.provider}: {why}", 502, "upstream_unreachable")
            settings = provider.health if provider else Health()
            self._chain.breakers.bad(route.provider, failure.message, settings)
            return failure
        return None

    def http_connect_upstream(self, flow: http.HTTPFlow) -> None:
        host = flow.request.host
        way = way_out("https", host) or way_out("http", host)
        if way and way.authorization:
            flow.request.headers["proxy-authorization"] = way.authorization

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if exchange and exchange.endpoint and exchange.upstream_request:
            self._probe.answered(exchange.endpoint)

    def error(self, flow: http.HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if exchange and exchange.route and exchange.endpoint and not flow.response:
            self._probe.failed(exchange.endpoint)


def _is_demo(policy: Policy, name: str) -> bool:
    model = policy.models.get(name)
    return model.provider == "demo" if model else name.startswith("demo:")


def _key(exchange: Exchange) -> tuple[str, bytes]:
    return key(exchange.who, exchange.asked)


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
