"""Agents that need no description in a policy, an entry made whole, and what of it is secret.

Cursor's lines: its documentation of ``--output-format stream-json``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import msgspec

from ..policy.agents import Agent, Read
from ..policy.load import MissingVariable, expand
from ..policy.schema import Policy
from ..policy.variables import VARIABLE
from ..record import findings
from ..record.redact import MARK, Redactor

#: It reads and answers; to have it change files, a policy gives another command.
_CURSOR = Agent(
    command=[
        *("cursor-agent", "-p", "--output-format", "stream-json", "--stream-partial-output"),
        *("--mode", "ask", "--sandbox", "enabled", "--trust"),
    ],
    model=["--model", "{model}"],
    resume=["--resume", "{session}"],
    reads=[
        Read(when={"type": "system", "subtype": "init"}, session="session_id"),
        # What was streamed comes again as a whole, before each tool and at the end.
        Read(when={"type": "assistant", "timestamp_ms": None}, whole="message.content.text"),
        Read(when={"type": "assistant", "model_call_id": None}, text="message.content.text"),
        Read(when={"type": "assistant"}, whole="message.content.text"),
        Read(when={"type": "thinking"}, reasoning="text"),
        Read(when={"type": "tool_call", "subtype": "started"}, activity="tool_call"),
        Read(when={"type": "result", "is_error": True}, error="result"),
        Read(when={"type": "result"}, whole="result", session="session_id", ends=True),
    ],
    ready=["cursor-agent", "status"],
    ready_says="logged in as",
    login="log in with `cursor-agent login`",
    models=["composer-2.5"],
)
_KNOWN = {"cursor": _CURSOR, "codex": Agent(command=["codex"])}
_PLAIN = Agent()
#: Variables that hold what nobody else may see.
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.I)


def whole(agent: Agent, policy: Policy, environ: Mapping[str, str] | None = None) -> Agent:
    """``agent`` with what is known of it, and with its variables replaced.

    Variables that hold keys of the policy's providers are none of an agent's business: it does not
    get them, unless its own ``env`` names them.
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


def hidden(text: str, policy: Policy, environ: Mapping[str, str] | None = None) -> str:
    """``text`` without the keys of ``policy``, and without what looks like one."""
    env = os.environ if environ is None else environ
    values = [env.get(name, "") for name in keys(policy)]
    for provider in policy.providers.values():
        values += [provider.key, *provider.headers.values()]
    for agent in policy.agents.values():
        values += [v for n, v in whole(agent, policy, env).env.items() if _SECRET.search(n)]
    text = Redactor(values).text(text)
    for found in reversed(findings.keys(text)):
        text = text[: found.start] + MARK + text[found.end :]
    return text


def keys(policy: Policy) -> set[str]:
    """The variables that stand in the keys and headers of a policy's providers."""
    texts = []
    for provider in policy.providers.values():
        texts += [provider.key, *provider.headers.values(), *provider.query.values()]
    return {name for text in texts for name in VARIABLE.findall(text)}
