"""The types of a policy's rules: what is caught, routed, limited and masked.

Sizes are bytes or text such as ``20kb``; times are seconds or text such as ``30s``, ``2h``. A
pattern is a regular expression in RE2's syntax, which takes linear time whatever it is given.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Role = Literal["system", "developer", "user", "assistant", "tool"]
Names = str | list[str]
Above = Annotated[float, Meta(gt=0)]
Some = Annotated[int, Meta(ge=1)]


class Part(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Which parts of a prompt a rule is about: all that is said must hold."""

    role: Annotated[
        Role | list[Role] | None,
        Meta(description="Who says it; system and developer are the same, outputs are tool."),
    ] = None
    item: Annotated[
        Names | None, Meta(description="Its kind: message, function_call_output, …")
    ] = None
    tool: Annotated[
        Names | None, Meta(description="The tool of a call or an output; * stands for any end.")
    ] = None
    position: Annotated[
        int | Literal["newest"] | None,
        Meta(description="The how-maniest of the conversation, from 0, or the newest user one."),
    ] = None
    text: Annotated[str | None, Meta(description="Text that stands in it.")] = None
    pattern: Annotated[str | None, Meta(description="A pattern that matches in it.")] = None
    larger_than: Annotated[int | str | None, Meta(description="Longer than so many bytes.")] = None
    smaller_than: Annotated[int | str | None, Meta(description="Shorter than so many bytes.")] = (
        None
    )
    client: Annotated[
        Names | None, Meta(description="Who asks: codex, claude-code, opencode, aider, …")
    ] = None
    project: Annotated[
        Names | None, Meta(description="The folder the agent works in; * stands for any part.")
    ] = None


class Inject(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A text of your own in the prompt."""

    text: Annotated[str | None, Meta(description="The text itself.")] = None
    file: Annotated[
        str | None, Meta(description="Or a file with it, from the policy's folder.")
    ] = None
    role: Annotated[Literal["developer", "user"], Meta(description="In whose name.")] = "developer"
    at: Annotated[
        Literal["start", "after_instructions", "end"],
        Meta(description="Where; at the end it moves with every turn, which no cache survives."),
    ] = "start"


class Replace(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Another text in the place of one."""

    with_: Annotated[
        str, Meta(description=r"What stands there then; \1 is the first group of a pattern.")
    ] = msgspec.field(name="with")
    text: Annotated[str | None, Meta(description="The text to be replaced.")] = None
    pattern: Annotated[str | None, Meta(description="Or a pattern for it.")] = None


class CatchRule(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One rule over the parts of a prompt, with one action."""

    name: Annotated[str, Meta(description="How the rule is called where it is explained.")] = ""
    when: Annotated[Part, Meta(description="Which parts; all of them where nothing is said.")] = (
        Part()
    )
    inject: Annotated[Inject | None, Meta(description="Put a text into the prompt.")] = None
    replace: Annotated[Replace | None, Meta(description="Put another text for one.")] = None
    drop: Annotated[bool, Meta(description="Leave the part out.")] = False
    strip: Annotated[
        Literal["repeated"] | None,
        Meta(description="Leave out what stands there a second time: the part, or the pattern."),
    ] = None
    cap: Annotated[
        int | str | None, Meta(description="Cut the middle out of what is longer than this.")
    ] = None
    tag: Annotated[str | None, Meta(description="Tag the turn; route rules can ask for it.")] = None
    refuse: Annotated[str | None, Meta(description="Send nothing; the client is told this.")] = None


class Dedup(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """When a run of lines that stands earlier in the prompt is replaced by a line saying where."""

    min_lines: Annotated[Some, Meta(description="Shorter runs stay.")] = 3
    min_bytes: Annotated[int | str, Meta(description="Smaller runs stay.")] = 120
    roles: Annotated[
        list[Literal["tool", "user", "developer"]],
        Meta(description="Whose texts are shortened; what a model said never is."),
    ] = msgspec.field(default_factory=lambda: ["tool", "user", "developer"])
    tools: Annotated[
        Names | None, Meta(description="Only outputs of these tools; * stands for any end.")
    ] = None
    within: Annotated[
        int | str | None, Meta(description="How far back it may refer, in bytes of text.")
    ] = None
    keep_verbatim_below: Annotated[
        int | str, Meta(description="Texts smaller than this stay as they are.")
    ] = 0
    blobs_over: Annotated[
        int | str | None,
        Meta(description="Lossy: Base64 data in outputs longer than this is sent as its hash."),
    ] = None


class Cache(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How the provider's prompt cache is used."""

    breakpoints: Annotated[
        bool, Meta(description="Mark what Messages upstreams shall cache; a client's marks stay.")
    ] = True
    ttl: Annotated[
        Literal["5m", "1h", "auto"],
        Meta(description="How long it lives; auto learns from the pauses in a thread."),
    ] = "auto"
    key: Annotated[
        Literal["auto", "always", "never"],
        Meta(description="prompt_cache_key of each thread; auto: to providers that know it."),
    ] = "auto"


Strictness = Literal["strict", "normal", "loose"]


class Repair(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """When a tool call that a model writes as text is made a call again."""

    strictness: Annotated[
        Strictness,
        Meta(description="How sure it must be: strict only at the end, loose also in a sentence."),
    ] = "normal"
    arguments: Annotated[
        bool, Meta(description="Also mend broken arguments and near-miss names of proper calls.")
    ] = True
    dialects: Annotated[
        dict[str, bool], Meta(description="Forms that are not looked for; all are otherwise.")
    ] = {}
    providers: Annotated[
        dict[str, bool | Strictness],
        Meta(description="Providers for which it is off, on in any protocol, or otherwise strict."),
    ] = {}
    models: Annotated[
        dict[str, bool | Strictness],
        Meta(description="Models for which it is off or otherwise strict; goes before providers."),
    ] = {}


class ToolRule(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What becomes of a tool that a client offers."""

    remove: Annotated[bool, Meta(description="Do not offer it.")] = False
    rename: Annotated[
        str | None, Meta(description="What the model knows it as; the client never sees it.")
    ] = None
    description: Annotated[str | None, Meta(description="Its description, instead of its own.")] = (
        None
    )


class When(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Which turns a route rule is about: all that is said must hold."""

    model: Annotated[
        Names | None, Meta(description="The model asked for; * stands for any part of a name.")
    ] = None
    text: Annotated[str | None, Meta(description="Text in the newest user message.")] = None
    pattern: Annotated[str | None, Meta(description="A pattern in the newest user message.")] = None
    tag: Annotated[Names | None, Meta(description="A tag that a catch rule gave.")] = None
    client: Annotated[
        Names | None, Meta(description="Who asks: codex, claude-code, opencode, aider, …")
    ] = None
    project: Annotated[
        Names | None, Meta(description="The folder the agent works in; * stands for any part.")
    ] = None
    larger_than: Annotated[int | str | None, Meta(description="More tokens: 50000 or 50k.")] = None
    smaller_than: Annotated[int | str | None, Meta(description="Fewer tokens: 8000 or 8k.")] = None
    images: Annotated[bool | None, Meta(description="Whether the prompt holds images.")] = None
    tools: Annotated[
        bool | Names | None, Meta(description="Whether tools are offered, or which of them.")
    ] = None
    effort: Annotated[Names | None, Meta(description="The reasoning effort asked for.")] = None
    header: Annotated[
        dict[str, str], Meta(description="Request headers; * stands for any part of a value.")
    ] = {}
    hours: Annotated[str | None, Meta(description="Time of day, as 22:00-06:00, local.")] = None
    days: Annotated[
        list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]],
        Meta(description="Days of the week, local."),
    ] = []
    older_than: Annotated[
        int | str | None, Meta(description="The thread began longer ago: 2h.")
    ] = None
    younger_than: Annotated[
        int | str | None, Meta(description="The thread began more lately: 10m.")
    ] = None


class Spread(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Several models among which threads are spread; a thread keeps its own."""

    split: Annotated[dict[str, float], Meta(description="Model: its share, as 9 and 1.")] = {}
    round_robin: Annotated[list[str], Meta(description="Or each in turn.")] = []


class RouteRule(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One rule that says which model answers."""

    to: Annotated[
        str | list[str] | Spread,
        Meta(description="A model; a list is a model and its fallbacks; or split, round_robin."),
    ]
    name: Annotated[str, Meta(description="How the rule is called where it is explained.")] = ""
    when: Annotated[When, Meta(description="Which turns; all of them where nothing is said.")] = (
        When()
    )
    mid_thread: Annotated[
        bool, Meta(description="Whether it may move a thread that has begun with another model.")
    ] = False


class Candidate(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One model that auto may take."""

    model: Annotated[str, Meta(description="A name of models, with a price.")]
    card: Annotated[str, Meta(description="What it is good at, in a line for the classifier.")]


class Auto(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A virtual model: a small one scores who is up to the task, the cheapest of these takes it."""

    classifier: Annotated[str, Meta(description="The model that scores.")]
    candidates: Annotated[list[Candidate], Meta(description="Whom it may choose among.")]
    name: Annotated[str, Meta(description="What clients ask for.")] = "codex-auto"
    threshold: Annotated[float, Meta(description="The score that is enough.", ge=0, le=1)] = 0.7
    escalate: Annotated[
        bool, Meta(description="Whether a later turn may move the thread to a stronger one.")
    ] = False
    fallback: Annotated[
        str | None, Meta(description="Who answers when the classifier fails; else the dearest.")
    ] = None
    timeout: Annotated[int | str, Meta(description="How long the classifier may take.")] = "10s"


class Limit(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What may be used, by whom, and what happens then."""

    name: Annotated[str, Meta(description="How the limit is called where it is explained.")] = ""
    per: Annotated[
        Literal["session", "day", "key"] | list[Literal["session", "day", "key"]],
        Meta(description="Counted for each session, day, client key, or each of a combination."),
    ] = []
    tokens: Annotated[int | str | None, Meta(description="Input and output: 2000000 or 2M.")] = None
    money: Annotated[Above | None, Meta(description="Dollars, by the models' prices.")] = None
    requests_per_minute: Annotated[Some | None, Meta(description="Turns in a minute.")] = None
    then: Annotated[
        Literal["warn", "cheaper", "refuse"], Meta(description="What happens at the limit.")
    ] = "refuse"
    to: Annotated[str | None, Meta(description="The model that answers then, for cheaper.")] = None
    message: Annotated[str | None, Meta(description="What the client is told.")] = None


Place = Literal["sent", "recorded", "logged"]


class RedactRule(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Something to be masked. What is sent masked comes back unmasked."""

    name: Annotated[str, Meta(description="Stands in the mask: letters, digits, dashes.")]
    use: Annotated[
        Literal["api-keys", "private-keys", "credentials", "emails", "cards"] | None,
        Meta(description="A pattern that comes with Interpose."),
    ] = None
    pattern: Annotated[str | None, Meta(description="Or one of your own.")] = None
    value: Annotated[str | None, Meta(description="Or a text, best as ${NAME}.")] = None
    blobs_over: Annotated[
        int | str | None,
        Meta(description="Or Base64 data longer than this, as a hash; recorded only."),
    ] = None
    places: Annotated[
        list[Place], Meta(description="Where: sent, recorded, logged; everywhere else.")
    ] = msgspec.field(name="in", default_factory=lambda: ["sent", "recorded", "logged"])


class Recording(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What recordings hold."""

    mask_keys: Annotated[
        bool,
        Meta(description="Keys of known form, private keys, passwords are masked in them."),
    ] = True


class Capabilities(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How much of Codex a provider's turns keep or get; the defaults are a transparent proxy's.

    Also per request, as the top-level field ``codex_capabilities``.
    """

    protocol: Annotated[
        Literal["openai-chat", "openai-responses", "anthropic-messages"] | None,
        Meta(description="How the client's body is read and answered, whatever its path."),
    ] = None
    codex_passthrough: Annotated[
        bool, Meta(description="The body goes on unchanged but for model and key.")
    ] = False
    prompt_mode: Annotated[
        Literal["client", "codex_default"],
        Meta(description="codex_default: Codex's base instructions where the client sends none."),
    ] = "client"
    tool_schema_mode: Annotated[
        Literal["custom_only", "merge"],
        Meta(description="merge: Codex's own tools are offered beside the client's."),
    ] = "custom_only"
    tool_text_format: Annotated[
        Literal["none", "hermes"],
        Meta(description="The form in which tools are described and called as text too."),
    ] = "none"
    bypass_tool_call_reactor: Annotated[
        bool, Meta(description="Calls go back untouched, also of tools nobody offered.")
    ] = True
    include_environment_context: Annotated[
        bool, Meta(description="Folder, shell and date are told to the model.")
    ] = False
