"""The policy that random turns are sent under: every section is in use, some in several ways.

What it forbids and hides is named here, so that whoever plants it and whoever looks for it agree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from hypothesis import strategies as st

from shim.policy.load import parse_policy
from shim.policy.schema import Policy

#: Rules refuse a turn that holds one of these.
REFUSED = ("the heron file", "Zebra-Crossing")
REFUSED_PATTERN = re.compile(r"the heron file|zebra[- ]?crossing", re.IGNORECASE)
#: Another text is put in the place of this one.
REPLACED = "Project Kestrel"
#: A part with this is left out.
DROPPED = "<skills>"
#: This one tool is taken away, this one is renamed.
REMOVED_TOOL, RENAMED_TOOL, NEW_NAME = "forbidden_tool", "exec_command", "run_it"
#: A value of the environment that must not leave: JSON, URLs and patterns all write it differently.
VALUE = 'pa"ss\\wörd/4711'
ENVIRONMENT = {
    "FUZZ_VALUE": VALUE,
    "FUZZ_CHAT_KEY": "key-of-chat-0f3a9b7c21",
    "FUZZ_RESPONSES_KEY": "key-of-responses-5d1e8c77",
    "FUZZ_MESSAGES_KEY": "key-of-messages-91ab42e0",
}
#: Keys of which a client must send one, where the chain has any.
CLIENT_KEYS = ("client-key-alpha-77aa01", "client-key-beta-88bb02")
#: By the host of an upstream: its protocol and the only key that it may see.
UPSTREAMS = {
    "chat.example": ("chat", ENVIRONMENT["FUZZ_CHAT_KEY"]),
    "agents.example": ("chat", ENVIRONMENT["FUZZ_CHAT_KEY"]),
    "responses.example": ("responses", ENVIRONMENT["FUZZ_RESPONSES_KEY"]),
    "messages.example": ("messages", ENVIRONMENT["FUZZ_MESSAGES_KEY"]),
    "demo.example": ("chat", "key-of-the-engines-3c"),
}
#: The target of ``--mode reverse:``; it gets the client's own key.
TARGET = "target.example"
MODELS = (
    "m-chat",
    "m-responses",
    "m-messages",
    "m-agent",
    "m-down",
    "m-demo",
    "m-target",
    "m-auto",
)


@dataclass(frozen=True)
class Variant:
    """What differs between the policies."""

    duplicates: str = "pass"
    apply: str = "now"
    tight: bool = False
    repair: str = "normal"
    always: bool = False
    cache: str = "auto"
    failures: int = 2
    default: str = "m-chat"


VARIANTS = st.builds(
    Variant,
    duplicates=st.sampled_from(["pass", "refuse"]),
    apply=st.sampled_from(["now", "new_threads"]),
    tight=st.sampled_from([False, False, False, True]),
    repair=st.sampled_from(["normal", "strict", "loose"]),
    always=st.booleans(),
    cache=st.sampled_from(["auto", "always"]),
    failures=st.integers(1, 3),
    default=st.sampled_from(MODELS),
)


@lru_cache(maxsize=1024)
def policy_of(variant: Variant) -> Policy:
    """The policy of a variant; ENVIRONMENT is where its keys come from."""
    tokens, turns = (40, 3) if variant.tight else ("100M", 10_000)
    always = str(variant.always).lower()
    return parse_policy(f"""
providers:
  chat:
    base_url: http://chat.example:8001/v1
    key: ${{FUZZ_CHAT_KEY}}
    headers: {{ x-title: Interpose }}
    query: {{ v: "1" }}
    health: {{ failures: {variant.failures}, cooldown: 45s }}
  responses:
    base_url: http://responses.example:8002/v1
    protocol: responses
    key: ${{FUZZ_RESPONSES_KEY}}
  messages:
    base_url: http://messages.example:8003/v1
    protocol: messages
    key: ${{FUZZ_MESSAGES_KEY}}
  agents:
    base_url: http://agents.example:8004/v1
    key: ${{FUZZ_CHAT_KEY}}
    capabilities:
      prompt_mode: codex_default
      tool_schema_mode: merge
      tool_text_format: hermes
      bypass_tool_call_reactor: false
      include_environment_context: true
  down:
    base_url: http://down.example/v1
    key: ${{FUZZ_NO_SUCH_KEY}}
models:
  m-chat: {{ provider: chat, model: vendor/chat, fallbacks: [m-responses, m-messages],
             price: {{ input: 1, output: 5, cached: 0.1, cache_write: 1.25 }} }}
  m-responses: {{ provider: responses, reasoning: [low, high], price: {{ input: 2, output: 8 }} }}
  m-messages: {{ provider: messages, images: false,
                 price: {{ input: 3, output: 15 }} }}
  m-agent: {{ provider: agents, images: false, price: {{ input: 0.1, output: 0.2 }} }}
  m-down: {{ provider: down, fallbacks: [m-messages, m-agent] }}
  m-demo: {{ provider: demo }}
  m-target: {{ provider: reverse }}
default: {variant.default}
apply: {variant.apply}
duplicates: {variant.duplicates}
repair:
  strictness: {variant.repair}
  dialects: {{ react: false }}
  providers: {{ chat: {always}, responses: {always}, messages: {always} }}
catch:
  - {{ name: house, inject: {{ text: Keep to the house style., role: developer }} }}
  - {{ name: after, inject: {{ text: Say when done., role: user, at: after_instructions }} }}
  - {{ name: last, when: {{ client: codex }}, inject: {{ text: Be brief., at: end }} }}
  - {{ name: heron, when: {{ text: {REFUSED[0]} }}, refuse: That file is off limits. }}
  - {{ name: zebra, when: {{ pattern: '(?i)zebra[- ]?crossing' }}, refuse: Not on this road. }}
  - {{ name: codename, replace: {{ text: {REPLACED}, with: the project }} }}
  - {{ name: skills, when: {{ text: {DROPPED} }}, drop: true }}
  - {{ name: env, when: {{ role: user, pattern: '(?s)<env>.*?</env>' }}, strip: repeated }}
  - {{ name: logs, when: {{ role: tool, larger_than: 400 }}, cap: 200 }}
  - {{ name: hard, when: {{ position: newest, text: "#hard" }}, tag: hard }}
tools:
  {REMOVED_TOOL}: {{ remove: true }}
  web_search: {{ remove: true }}
  {RENAMED_TOOL}: {{ rename: {NEW_NAME}, description: Runs a command. }}
dedup: {{ min_lines: 2, min_bytes: 20, blobs_over: 1kb }}
cache: {{ breakpoints: true, ttl: auto, key: {variant.cache} }}
route:
  - {{ name: hard, when: {{ tag: hard }}, to: m-messages, mid_thread: true }}
  - name: words
    when: {{ pattern: 'refactor|redesign' }}
    to: {{ split: {{ m-chat: 9, m-responses: 1 }} }}
  - name: turns
    when: {{ client: claude-code, images: true }}
    to: {{ round_robin: [m-chat, m-responses] }}
auto:
  name: m-auto
  classifier: m-demo
  fallback: m-chat
  escalate: true
  candidates:
    - {{ model: m-chat, card: Everyday work. }}
    - {{ model: m-messages, card: Hard bugs. }}
limits:
  - {{ name: session, per: session, tokens: {tokens}, then: cheaper, to: m-agent }}
  - {{ name: pace, per: key, requests_per_minute: {turns}, message: Slow down. }}
  - {{ name: money, per: [key, day], money: 1000, then: warn }}
redact:
  - {{ name: keys, use: api-keys }}
  - {{ name: customer, pattern: 'CUST-\\d{{6}}' }}
  - {{ name: team, value: "${{FUZZ_VALUE}}" }}
  - {{ name: machine, pattern: 'host-\\d{{4}}', in: [recorded, logged] }}
  - {{ name: pictures, blobs_over: 4kb, in: [recorded] }}
""")
