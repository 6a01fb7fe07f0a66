"""What recordings tell of a policy: nothing that lets anybody in, and enough to decide by."""

from __future__ import annotations

import msgspec

from shim.policy.inforce import InForce
from shim.policy.load import parse_policy
from shim.policy.schema import Policy
from shim.prompt.secrets import Finder

POLICY = """
providers:
  up:
    base_url: https://api.example/v1
    key: literal-key-1
    headers: { x-tenant: literal-header-2, authorization: "Bearer ${TOKEN}", x-own: "${OWN}" }
    query: { code: literal-parameter-3 }
agents: { helper: { use: cursor, env: { A: literal-word-4, B: "${B_KEY}" } } }
models: { m: { provider: up, fallbacks: [n] }, n: { provider: helper } }
redact:
  - { name: one, value: literal-word-5 }
  - { name: two, value: "literal-word-6-${NAME}" }
  - { name: three, value: "${NAME}" }
  - { name: four, use: api-keys }
catch: [{ name: swap, when: { text: colour }, replace: { text: colour, with: color } }]
"""


def test_it_says_nothing_that_is_secret() -> None:
    told = InForce(parse_policy(POLICY)).recorded
    assert b"literal-" not in told and b"Bearer" not in told
    made = msgspec.json.decode(told, type=Policy)
    assert made.providers["up"].headers["x-own"] == "${OWN}"
    assert made.agents["helper"].env["B"] == "${B_KEY}"
    assert [rule.value for rule in made.redact[2:]] == ["${NAME}", None]
    assert not Finder(made.redact[:3], {}).find("literal-word-5 ${RECORDED} [redacted]")


def test_it_decides_as_before() -> None:
    policy = parse_policy(POLICY)
    made = msgspec.json.decode(InForce(policy).recorded, type=Policy)
    assert (made.models, made.catch) == (policy.models, policy.catch)
    assert made.providers["up"].base_url == "https://api.example/v1"
