"""A policy in force: with its rules compiled, each part when it is first needed."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import get_args

import msgspec

from ..prompt.catch import Catch
from ..prompt.secrets import Finder
from ..route import choose
from ..route.intercept import Intercepts
from ..route.keys import keys_of
from ..route.rules import RouteRules
from .recorded import recorded
from .rules import Place, RedactRule
from .schema import Policy

#: What is masked in recordings unless the policy says otherwise.
_KNOWN = (
    RedactRule(name="api-keys", use="api-keys", places=["recorded"]),
    RedactRule(name="private-keys", use="private-keys", places=["recorded"]),
    RedactRule(name="credentials", use="credentials", places=["recorded"]),
)


class InForce:
    """``since`` is when it came into force, in seconds since 1970; 0 for the first."""

    def __init__(self, policy: Policy, since: float = 0.0) -> None:
        self.policy = policy
        self.since = since

    @cached_property
    def version(self) -> str:
        """A mark of what it says: equal for equal policies, on any machine."""
        return hashlib.sha256(msgspec.json.encode(self.policy)).hexdigest()[:12]

    @cached_property
    def keys(self) -> frozenset[str]:
        """All keys that it holds, whichever provider they belong to: they are written nowhere."""
        return keys_of(self.policy)

    @cached_property
    def catch(self) -> Catch:
        """Its catch rules."""
        return Catch(self.policy.catch)

    @cached_property
    def finder(self) -> Finder:
        """What it masks in what is sent."""
        return Finder([rule for rule in self.policy.redact if "sent" in rule.places])

    def masked(self, place: Place) -> bytes:
        """Its rules of what is masked in a place, as JSON; empty where there are none."""
        return self._masked[place]

    @cached_property
    def _masked(self) -> dict[Place, bytes]:
        return {place: self._rules(place) for place in get_args(Place)}

    def _rules(self, place: Place) -> bytes:
        rules = [rule for rule in self.policy.redact if place in rule.places]
        if place == "recorded" and self.policy.record.mask_keys:
            used = {rule.use for rule in rules}
            rules += [rule for rule in _KNOWN if rule.use not in used]
        return msgspec.json.encode(rules) if rules else b""

    @cached_property
    def recorded(self) -> bytes:
        """What recordings tell of it, as JSON."""
        return msgspec.json.encode(recorded(self.policy))

    @cached_property
    def routes(self) -> RouteRules:
        """Its route rules."""
        return RouteRules(self.policy.route)

    @cached_property
    def intercepts(self) -> Intercepts:
        """Which hosts a forward proxy looks into, and what is a turn there."""
        return Intercepts(self.policy)

    @cached_property
    def edits(self) -> bool:
        """Whether it may change a prompt."""
        sent = any("sent" in rule.places for rule in self.policy.redact)
        policy = self.policy
        return bool(policy.catch or policy.tools or policy.dedup or sent)

    @cached_property
    def reads_otherwise(self) -> bool:
        """Whether a provider's turns may be in another protocol than their path says."""
        providers = self.policy.providers.values()
        return any(p.capabilities and p.capabilities.protocol for p in providers)

    def client_protocol(self, model: msgspec.Raw | None) -> str | None:
        """In which protocol the clients of the model named there speak, if its provider says."""
        try:
            name = msgspec.json.decode(model, type=str) if model is not None else ""
            found = choose.choose(self.policy, name)
        except (msgspec.DecodeError, choose.NoRoute):
            return None
        provider = self.policy.providers.get(found.provider)
        wanted = provider.capabilities if provider else None
        return wanted.protocol if wanted else None

    @cached_property
    def asks_project(self) -> bool:
        """Whether a rule is about the folder an agent works in, or a provider is told of it."""
        parts = [rule.when.project for rule in self.policy.catch]
        turns = [rule.when.project for rule in self.policy.route]
        told = [p.capabilities for p in self.policy.providers.values() if p.capabilities]
        return any(project is not None for project in parts + turns) or any(
            wanted.include_environment_context for wanted in told
        )

    @cached_property
    def decides(self) -> bool:
        """Whether more than a model's name decides on a turn's way."""
        policy = self.policy
        return bool(policy.route or policy.auto or policy.limits or policy.cache or self.edits)
