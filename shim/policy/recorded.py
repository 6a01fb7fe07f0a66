"""A policy as recordings hold it: enough to replay by, and nothing that lets anybody in."""

from __future__ import annotations

from msgspec.structs import replace

from .agents import Agent
from .rules import RedactRule
from .schema import Policy, Provider
from .variables import VARIABLE

_HIDDEN = "[redacted]"
#: A rule whose word is a variable that nobody sets looks for nothing.
_NO_WORD = "${RECORDED}"


def recorded(policy: Policy) -> Policy:
    """``policy`` without what it says, other than by variables, of keys, header fields, parameters,
    programs and words to hide: a replay asks nobody, and finds masks where such words stood."""
    return replace(
        policy,
        providers={name: _provider(one) for name, one in policy.providers.items()},
        agents={name: _agent(one) for name, one in policy.agents.items()},
        redact=[_rule(rule) for rule in policy.redact],
    )


def _provider(provider: Provider) -> Provider:
    headers, query = _values(provider.headers), _values(provider.query)
    return replace(provider, key=_value(provider.key), headers=headers, query=query)


def _agent(agent: Agent) -> Agent:
    command, ready = agent.command[:1], agent.ready[:1]
    return replace(agent, command=command, ready=ready, env=_values(agent.env))


def _rule(rule: RedactRule) -> RedactRule:
    return rule if _value(rule.value or "") != _HIDDEN else replace(rule, value=_NO_WORD)


def _values(given: dict[str, str]) -> dict[str, str]:
    return {name: _value(value) for name, value in given.items()}


def _value(text: str) -> str:
    return _HIDDEN if VARIABLE.sub("", text) else text
