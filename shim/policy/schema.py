"""The types of a policy file: where models are, and what each is called.

What is decided about a turn stands in `shim.policy.rules`. The one-line descriptions are the
reference: the JSON Schema and docs/policy-reference.md are made of them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .agents import Agent
from .rules import (
    Auto,
    Cache,
    Capabilities,
    CatchRule,
    Dedup,
    Limit,
    Recording,
    RedactRule,
    Repair,
    RouteRule,
    ToolRule,
)

Protocol = Literal["chat", "responses", "messages"]
Auth = Literal["bearer", "x-api-key", "api-key", "none", "chatgpt"]

Dollars = Annotated[float, Meta(ge=0)]

#: Providers that need no entry: the target of ``--mode reverse:URL`` and the offline demo model.
BUILT_IN = ("reverse", "demo")


class Health(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """When a provider is taken for down, and for how long."""

    failures: Annotated[
        int, Meta(description="Failures in a row after which it is left alone.", ge=1)
    ] = 3
    cooldown: Annotated[
        int | str, Meta(description="How long it is left alone before one turn tries it again.")
    ] = "30s"


class Provider(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where a model is reached: everything about the endpoint, nothing about a model."""

    base_url: Annotated[
        str,
        Meta(description="The address up to and with /v1; Codex's own for auth: chatgpt."),
    ] = ""
    protocol: Annotated[Protocol, Meta(description="What it speaks.")] = "chat"
    key: Annotated[str, Meta(description="Its key, best as ${NAME} from the environment.")] = ""
    auth: Annotated[
        Auth | None,
        Meta(
            description="How the key is sent (x-api-key for messages, else bearer); "
            "chatgpt: Codex's login."
        ),
    ] = None
    headers: Annotated[dict[str, str], Meta(description="Further request headers.")] = {}
    query: Annotated[dict[str, str], Meta(description="Further query parameters.")] = {}
    health: Annotated[Health, Meta(description="When it is taken for down.")] = Health()
    capabilities: Annotated[
        Capabilities | None, Meta(description="How much of Codex its turns keep or get.")
    ] = None


class Price(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a model costs, in dollars per million tokens."""

    input: Annotated[Dollars, Meta(description="Input tokens.")]
    output: Annotated[Dollars, Meta(description="Output tokens.")]
    cached: Annotated[
        Dollars | None, Meta(description="Input read from the provider's cache; else as input.")
    ] = None
    cache_write: Annotated[
        Dollars | None, Meta(description="Input written to that cache; else as input.")
    ] = None


class Model(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A name the client may ask for, and what stands behind it."""

    provider: Annotated[str, Meta(description="A provider's or agent's name, or reverse, or demo.")]
    model: Annotated[
        str | None, Meta(description="Its name at the provider, where that is another.")
    ] = None
    context_window: Annotated[int, Meta(description="In tokens; Codex compacts by it.")] = 128_000
    compact_at: Annotated[
        int | None, Meta(description="Tokens at which Codex compacts, if not at 90 % of it.")
    ] = None
    images: Annotated[bool, Meta(description="Whether it takes images.")] = True
    reasoning: Annotated[list[str], Meta(description="The efforts it takes: low, high, …")] = []
    description: Annotated[str, Meta(description="A line for Codex's model list.")] = ""
    fallbacks: Annotated[
        list[str], Meta(description="Models that answer instead when it cannot, in order.")
    ] = []
    price: Annotated[Price | None, Meta(description="What it costs, for limits and auto.")] = None


class Policy(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A whole policy."""

    providers: Annotated[dict[str, Provider], Meta(description="Where models are reached.")] = {}
    models: Annotated[dict[str, Model], Meta(description="What clients may ask for.")] = {}
    agents: Annotated[
        dict[str, Agent], Meta(description="Command-line agents that answer as models do.")
    ] = {}
    default: Annotated[
        str | None, Meta(description="The model that answers for names not in models.")
    ] = None
    catch: Annotated[list[CatchRule], Meta(description="What is changed in or kept from it.")] = []
    tools: Annotated[
        dict[str, ToolRule], Meta(description="Tools taken away, renamed or described anew.")
    ] = {}
    dedup: Annotated[
        Dedup | None, Meta(description="Send what stands in the prompt already only once.")
    ] = None
    cache: Annotated[
        Cache | None, Meta(description="Use the provider's prompt cache as well as can be.")
    ] = None
    repair: Annotated[
        Repair | None, Meta(description="Make a tool call that stands in a text a call again.")
    ] = None
    route: Annotated[list[RouteRule], Meta(description="Which model answers; first match.")] = []
    auto: Annotated[
        Auto | None, Meta(description="A virtual model that picks a real one for each thread.")
    ] = None
    limits: Annotated[list[Limit], Meta(description="What may be spent, and what then.")] = []
    redact: Annotated[list[RedactRule], Meta(description="What is masked, and where.")] = []
    record: Annotated[Recording, Meta(description="What recordings hold.")] = Recording()
    apply: Annotated[
        Literal["new_threads", "now"],
        Meta(description="Whether edits of what is done to prompts reach threads under way."),
    ] = "new_threads"
    duplicates: Annotated[
        Literal["pass", "refuse"],
        Meta(description="What becomes of a request that comes while the same is under way."),
    ] = "pass"
    websocket: Annotated[bool, Meta(description="Serve /v1/responses over WebSocket too.")] = False

    def leads(self, name: str) -> bool:
        """Whether a turn can go to ``name``: a provider, an agent, or what is built in."""
        return name in self.providers or name in self.agents or name in BUILT_IN

    @property
    def empty(self) -> bool:
        """Whether it names no model: then everything goes to the ``--mode reverse:`` target."""
        return not (self.providers or self.models or self.agents or self.default or self.auto)
