"""Agents that need no description in a policy, and an entry made whole.

Cursor's lines: its documentation of ``--output-format stream-json``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from ..policy.agents import Agent, Read
from ..policy.load import MissingVariable, expand
from ..policy.schema import Policy
from ..policy.warn import VARIABLE

_CURSOR = Agent(
    command=["cursor-agent", "-p", "--output-format", "stream-json", "--stream-partial-output"],
    model=["--model", "{model}"],
    resume=["--resume", "{session}"],
    reads=[
        Read(when={"type": "system", "subtype": "init"}, session="session_id"),
        Read(when={"type": "assistant"}, text="message.content.text", session="session_id"),
        Read(when={"type": "thinking"}, reasoning="text"),
        Read(when={"type": "result", "is_error": True}, error="result"),
        Read(when={"type": "result"}, whole="result", session="session_id", ends=True),
    ],
    prompt="argument",
    ready=["cursor-agent", "status"],
    ready_says="logged in as",
    login="log in with `cursor-agent login`",
    models=["composer-2-5"],
)
_KNOWN = {"cursor": _CURSOR, "codex": Agent(command=["codex"])}
_PLAIN = Agent()


def whole(agent: Agent, policy: Policy, environ: Mapping[str, str] | None = None) -> Agent:
    """``agent`` with what is known of it, and with its variables replaced.

    Variables that hold keys of the policy's providers are none of an agent's business: they are
    empty for it, unless its own ``env`` names them.
    """
    env = os.environ if environ is None else environ
    if agent.use:
        names = agent.__struct_fields__
        own = {n: v for n in names if (v := getattr(agent, n)) != getattr(_PLAIN, n)}
        agent = msgspec.structs.replace(_KNOWN[agent.use], **own)
    found = dict.fromkeys(keys(policy) & env.keys(), "")
    for name, value in agent.env.items():
        try:
            found[name] = expand(value, env)
        except MissingVariable:
            found[name] = ""
    return msgspec.structs.replace(agent, env=found)


def keys(policy: Policy) -> set[str]:
    """The variables that stand in the keys and headers of a policy's providers."""
    texts = []
    for provider in policy.providers.values():
        texts += [provider.key, *provider.headers.values(), *provider.query.values()]
    return {name for text in texts for name in VARIABLE.findall(text)}
