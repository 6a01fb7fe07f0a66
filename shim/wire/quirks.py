"""What families of providers refuse, and what they call things: data, so that no codec branches.

Only what is documented or was seen; a family that takes everything has no entry.
"""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec


class Quirks(msgspec.Struct, frozen=True):
    """How one family of upstreams differs from the plain protocol.

    ``renames`` maps a setting's name in the plain protocol to the family's; ``refuses`` names the
    settings it answers with an error: they are left out and noted. ``reasoning`` is how effort is
    asked for: ``reasoning_effort``, ``reasoning: {effort}``, ``thinking: {type}``, or not at all.
    ``schema`` tells whether an answer may be tied to a JSON schema; else a forced tool stands in;
    ``cache_key`` whether ``prompt_cache_key`` is known; ``cached`` what a token read
    from its prompt cache costs, as a share of the full price, where that differs from the usual;
    ``session`` a header that must name the conversation, by one id for all its turns;
    ``as_codex``: it answers in streams only, and knows developers but no system.
    """

    renames: dict[str, str] = {}
    refuses: frozenset[str] = frozenset()
    reasoning: Literal["effort", "object", "thinking", "none"] = "effort"
    schema: bool = True
    cache_key: bool = False
    cached: float | None = None
    session: str = ""
    as_codex: bool = False


PLAIN = Quirks()
#: Behind a ChatGPT login: made for Codex, so it gets what Codex sends (codex-wire.md, section 3).
CODEX = Quirks(
    refuses=frozenset(
        {"temperature", "top_p", "max_output_tokens", "metadata", "user", "safety_identifier"}
    ),
    cache_key=True,
    as_codex=True,
)
#: Per family; the sources are the providers' own API references.
FAMILIES: dict[str, Quirks] = {
    # Reasoning models refuse the old name.
    "openai": Quirks(renames={"max_tokens": "max_completion_tokens"}, cache_key=True),
    # "The following fields are currently not supported and will result in a 400 error".
    "groq": Quirks(
        renames={"max_tokens": "max_completion_tokens"},
        refuses=frozenset({"logprobs", "logit_bias", "top_logprobs"}),
    ),
    # Unknown fields are refused as extra inputs.
    "mistral": Quirks(
        renames={"seed": "random_seed"},
        refuses=frozenset({"logit_bias", "logprobs", "top_logprobs", "user", "service_tier"}),
        reasoning="none",
    ),
    # JSON mode without a schema; thinking models think without being asked.
    "deepseek": Quirks(
        refuses=frozenset({"logit_bias", "seed"}), reasoning="none", schema=False, cached=0.1
    ),
    "openrouter": Quirks(reasoning="object"),
    "cerebras": Quirks(
        renames={"max_tokens": "max_completion_tokens"},
        refuses=frozenset({"frequency_penalty", "presence_penalty", "logit_bias"}),
    ),
    # Reasoning models refuse these, and the newest think as they like.
    "xai": Quirks(refuses=frozenset({"presence_penalty", "frequency_penalty", "stop"})),
    "zhipu": Quirks(reasoning="thinking", schema=False),
    "moonshot": Quirks(reasoning="none", cache_key=True),
    "dashscope": Quirks(reasoning="none"),
    # OpenCode Go answers 400 without it; turns of one id reach the same prompt cache.
    "opencode": Quirks(session="x-opencode-session"),
}
#: Hosts, and all below them, by the family that answers there.
HOSTS: dict[str, str] = {
    "api.openai.com": "openai",
    "openai.azure.com": "openai",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "openrouter.ai": "openrouter",
    "api.cerebras.ai": "cerebras",
    "api.x.ai": "xai",
    "bigmodel.cn": "zhipu",
    "api.z.ai": "zhipu",
    "api.moonshot.ai": "moonshot",
    "api.moonshot.cn": "moonshot",
    "aliyuncs.com": "dashscope",
    "opencode.ai": "opencode",
}


def quirks(base_url: str | None) -> Quirks:
    """The quirks of the family that ``base_url`` belongs to; PLAIN for an unknown one."""
    host = urlsplit(base_url or "").hostname or ""
    for name, family in HOSTS.items():
        if host == name or host.endswith(f".{name}"):
            return FAMILIES[family]
    return PLAIN


def apply(settings: dict[str, Any], quirks: Quirks, notes: list[str]) -> dict[str, Any]:
    """``settings`` of a request under the family's names, without what it refuses."""
    if quirks is PLAIN:
        return settings
    made = {}
    for name, value in settings.items():
        if name in quirks.refuses:
            notes.append(f"setting {name} left out: this provider refuses it")
        else:
            made[quirks.renames.get(name, name)] = value
    return made


def effort_fields(effort: str, quirks: Quirks, notes: list[str]) -> dict[str, Any]:
    """How the family is asked to think as hard as ``effort`` says."""
    if quirks.reasoning == "object":
        return {"reasoning": {"effort": effort}}
    if quirks.reasoning == "thinking":
        return {"thinking": {"type": "disabled" if effort == "none" else "enabled"}}
    if quirks.reasoning == "none":
        notes.append("setting reasoning.effort left out: this provider has none")
        return {}
    return {"reasoning_effort": effort}
