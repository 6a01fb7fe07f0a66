"""What a policy may not say, and what it may but is warned of: each with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from shim.policy.load import examine, load_policy_files, parse_policy

BASE = """\
providers:
  up: {base_url: "http://a/v1"}
models:
  small: {provider: up, price: {input: 1, output: 2}}
  big: {provider: up, price: {input: 5, output: 9}}
  odd: {provider: up}
"""


def said(text: str) -> list[str]:
    """What is wrong with the section ``text``, by its own lines."""
    report = examine(BASE + text, "p")
    offset = BASE.count("\n")
    return [f"{p.line - offset}:{p.column} {p.field}: {p.message}" for p in report.problems]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("catch: [{}]", "1:9 catch[0]: a rule has exactly one of"),
        ("catch:\n- {drop: true, tag: x}", "2:3 catch[0]: a rule has exactly one of"),
        ("catch: [{tag: ''}]", "1:10 catch[0].tag: must not be empty"),
        (
            "catch: [{when: {pattern: '('}, tag: x}]",
            "catch[0].when.pattern: not a pattern: missing )",
        ),
        ("catch: [{when: {pattern: 'a(?=b)'}, tag: x}]", "RE2 has no lookahead"),
        ("catch: [{when: {pattern: '(a)\\1'}, tag: x}]", "RE2 has no backreferences"),
        ("catch: [{when: {pattern: 'a*'}, tag: x}]", "matches nothing at all"),
        ("catch: [{when: {text: ''}, tag: x}]", "must not be empty"),
        ("catch: [{when: {role: robot}, tag: x}]", "must be one of assistant, developer"),
        ("catch: [{when: {position: newst}, tag: x}]", "catch[0].when.position: must be"),
        ("catch: [{when: {position: -1}, tag: x}]", "must be a number from 0"),
        ("catch: [{cap: 20 apples}]", "catch[0].cap: must be a size such as 20kb, is '20 apples'"),
        (
            "catch: [{when: {larger_than: 2kb, smaller_than: 1kb}, tag: x}]",
            "nothing is larger than",
        ),
        ("catch: [{inject: {}}]", "needs exactly one of text, file; this one has none"),
        ("catch: [{inject: {text: a, file: b}}]", "this one has text and file"),
        ("catch: [{inject: {file: none.md}}]", "catch[0].inject.file: none.md: cannot be read"),
        ("catch: [{when: {role: user}, inject: {text: a}}]", "inject asks for client and project"),
        ("catch: [{replace: {with: x}}]", "needs exactly one of text, pattern"),
        ("catch: [{replace: {pattern: '(a)', with: '\\2'}}]", "the pattern has no group 2"),
        ("catch: [{replace: {text: a}}]", "the field with is missing"),
        ("catch: [{name: a, tag: x}, {name: a, tag: y}]", "another rule is called a too"),
        ("tools: {f: {}}", "tools.f: says nothing"),
        ("tools: {f: {remove: true, rename: g}}", "is not renamed"),
        ("tools: {f: {rename: g}, h: {rename: g}}", "tools.h.rename: f is renamed to g too"),
        ("tools: {f: {rename: 'a b'}}", "letters, digits"),
        ("tools: {'mcp*': {rename: g}}", "several tools cannot have one name"),
        ("route: [{to: smal}]", "route[0].to: no model smal; did you mean small?"),
        ("route: [{to: []}]", "names no model"),
        ("route: [{to: [small, bigg]}]", "1:22 route[0].to[1]: no model bigg; did you mean big?"),
        ("route: [{to: {split: {small: 0}}}]", "a share is above 0"),
        ("route: [{to: {split: {small: 1}, round_robin: [big]}}]", "exactly one of split"),
        ("route: [{to: {}}]", "exactly one of split, round_robin; this one has none"),
        ("route: [{to: small, when: {hours: 25:00-1:00}}]", "must be such as 22:00-06:00"),
        ("route: [{to: small, when: {older_than: soon}}]", "must be a time such as 30s"),
        ("route: [{to: small, when: {larger_than: 5kb}}]", "must be a number such as 50000"),
        ("route: [{when: {days: [monday]}, to: small}]", "did you mean mon?"),
        ("auto: {classifier: none, candidates: []}", "auto.classifier: no model none"),
        ("auto: {classifier: small, candidates: []}", "names no candidate"),
        (
            "auto: {classifier: small, candidates: [{model: odd, card: x}]}",
            "auto.candidates[0].model: odd has no price",
        ),
        (
            "auto: {name: big, classifier: small, candidates: [{model: big, card: x}]}",
            "big is the name of a model too",
        ),
        (
            "auto: {threshold: 1.5, classifier: small, candidates: [{model: big, card: x}]}",
            "auto.threshold: must be at most 1",
        ),
        ("limits: [{}]", "needs exactly one of tokens, money, requests_per_minute"),
        ("limits: [{tokens: 5, money: 3}]", "this one has tokens and money"),
        ("limits: [{money: 0}]", "must be more than 0"),
        ("limits: [{money: 1, then: cheaper}]", "cheaper needs to"),
        ("limits: [{money: 1, to: small}]", "is for cheaper only"),
        ("limits: [{tokens: 1, per: week}]", "limits[0].per: must be"),
        ("redact: [{name: A, use: emails}]", "small letters"),
        ("redact: [{name: a}]", "needs exactly one of use, pattern, value, blobs_over"),
        ("redact: [{name: a, use: emails, in: []}]", "names no place"),
        ("redact: [{name: a, use: mails}]", "did you mean emails?"),
        ("apply: later", "must be one of new_threads, now"),
    ],
)
def test_what_cannot_be_meant_is_said_where_it_stands(text: str, wanted: str) -> None:
    found = said(text)
    assert any(wanted in line for line in found), found
    assert all(1 <= int(line.partition(":")[0]) <= text.count("\n") + 1 for line in found)


def test_a_cycle_of_fallbacks_is_named() -> None:
    text = """
providers: {up: {base_url: "http://a/v1"}}
models:
  a: {provider: up, fallbacks: [b]}
  b: {provider: up, fallbacks: [x, c]}
  c: {provider: up, fallbacks: [b]}
  x: {provider: up}
  me: {provider: up, fallbacks: [me]}
"""
    report = examine(text, "p")
    assert len(report.problems) == 1 and "a cycle: b → c → b" in str(report.problems[0])
    alone = text.replace("fallbacks: [b]}\n  x", "fallbacks: [x]}\n  x")
    assert "a cycle: me → me" in str(examine(alone, "p").problems[0])


def test_all_problems_are_told_in_the_order_of_the_file() -> None:
    text = "models: {m: {provider: nobody, imges: 3}}\nroute: [{}]\nproviders: {a: {base_url: 5}}"
    found = [(p.line, p.field) for p in examine(text, "p").problems]
    assert found == [(1, "models.m.imges"), (2, "route[0]"), (3, "providers.a.base_url")]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("catch: [{when: {position: newest}, drop: true}]", "catch[0]: rewrites what was already"),
        ("catch: [{inject: {text: a, at: end}}]", "catch[0]: rewrites what was already"),
        ("catch: [{when: {role: user, tool: f}, tag: x}]", "never applies"),
        ("catch: [{tag: x}]\napply: now", "apply: an edit of catch"),
        ("route: [{to: small}, {name: second, to: big}]", "second and what follows never do"),
        ("limits: [{money: 1}]", "no price, so nothing is counted: odd"),
        ("limits: [{tokens: 1, then: cheaper, to: small}]", "keeps it beyond the limit"),
        ("redact: [{name: a, value: '${NOT_SET}'}]", "the variable NOT_SET is not set: a masks"),
    ],
)
def test_what_costs_or_does_nothing_is_warned_of(text: str, wanted: str) -> None:
    report = examine(BASE + text, "p", environ={})
    assert not report.problems and report.policy is not None
    assert any(wanted in str(w) for w in report.warnings), report.warnings


@pytest.mark.parametrize(
    "text",
    [
        "catch: [{when: {position: newest}, tag: x}]",
        "catch: [{when: {position: newest}, refuse: 'no'}]",
        "catch: [{inject: {text: a}}]",
        "catch: [{when: {role: [user, tool], tool: f}, tag: x}]",
        "route: [{when: {client: codex}, to: small}, {to: big}]",
    ],
)
def test_what_is_well_is_not_warned_of(text: str) -> None:
    report = examine(BASE + text, "p", environ={})
    assert not report.problems and not report.warnings


def test_an_unset_variable_is_named_with_its_provider_and_place() -> None:
    text = 'providers:\n  up:\n    base_url: "${HOST}/v1"\n    key: ${KEY}\n    headers: {x-a: "${A}"}\n'
    found = examine(text, "p", environ={"A": "set"}).warnings
    assert [(w.line, w.field) for w in found] == [
        (3, "providers.up.base_url"),
        (4, "providers.up.key"),
    ]
    assert "the variable KEY is not set: up counts as down" in found[1].message


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("base_url: http://x/v1/chat/completions", "ends in /chat/completions, which the chain adds itself"),
        ("base_url: http://x/v1/Responses/", "ends in /responses, and the chain adds /chat/completions"),
        ("base_url: http://x/v1/messages?beta=1", "ends in /messages"),
        ("base_url: http://x/v1/models", "ends in /models"),
        ("base_url: 'https://${HOST}/v1/completions'", "ends in /completions"),
        ("base_url: http://$HOST:80/v1", "$HOST is sent as it stands; write ${HOST}"),
        ("key: $API_KEY", "$API_KEY is sent as it stands; write ${API_KEY} for its value"),
        ("key: os.environ/API_KEY", "os.environ/API_KEY is sent as it stands; write ${API_KEY}"),
        ("key: 'os.environ[\"API_KEY\"]'", "write ${API_KEY}"),
        ("key: env:API_KEY", "write ${API_KEY}"),
        ("key: '{env:API_KEY}'", "write ${API_KEY}"),
        ("key: '{{ API_KEY }}'", "write ${API_KEY}"),
        ("key: $env:API_KEY", "write ${API_KEY}"),
        ("key: '%API_KEY%'", "write ${API_KEY}"),
        ("key: API_KEY", "API_KEY is sent as it stands"),
        ("key: '${env:API_KEY}'", "write ${API_KEY}"),
        ("key: '${API_KEY:-S3CRET}'", "${API_KEY…} is sent as it stands"),
        ("headers: {authorization: Bearer $API_KEY}", "headers.authorization: $API_KEY is sent"),
        ("query: {api-version: $VERSION}", "query.api-version: $VERSION is sent as it stands"),
    ],
)  # fmt: skip
def test_what_is_sent_as_nobody_means_is_warned_of(field: str, words: str) -> None:
    address = "" if field.startswith("base_url") else "base_url: http://x/v1\n    "
    text = f"providers:\n  up:\n    {address}{field}\n"
    report = examine(text, "p", environ={"HOST": "h"})
    assert not report.problems
    (warning,) = report.warnings
    assert (warning.line, warning.column > 4) == (4 if address else 3, True)
    assert words in str(warning) and "S3CRET" not in str(warning)


@pytest.mark.parametrize(
    "field",
    [
        "base_url: http://x/v1",
        "base_url: http://x/api/paas/v4/",
        "base_url: http://models.example/inference?a=b",
        "base_url: http://chat.example",
        "base_url: http://x/openai/deployments/d",
        "base_url: '${HOST}/v1'",
        "key: ${HOST}",
        "key: sk-abc$DEF",
        "key: $ecretpassword",
        "headers: {x-title: My App, authorization: 'Bearer ${HOST}'}",
    ],
)
def test_what_is_sent_as_it_is_meant_is_not(field: str) -> None:
    address = "" if field.startswith("base_url") else "base_url: http://x/v1\n    "
    report = examine(
        f"providers:\n  up:\n    {address}{field}\n", "p", environ={"HOST": "http://h"}
    )
    assert not report.problems and not report.warnings


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("base_url: $HOST/v1", "must be an http:// or https:// address; for the value of HOST write ${HOST}"),
        ("key: {env:API_KEY}", "must be text, is a mapping; for the value of API_KEY write ${API_KEY}"),
        ("protocol: openai", "must be one of chat, messages, responses, is 'openai'"),
    ],
)  # fmt: skip
def test_an_error_says_what_to_write(field: str, words: str) -> None:
    address = "" if field.startswith("base_url") else "base_url: http://x/v1\n    "
    (problem,) = examine(f"providers:\n  up:\n    {address}{field}\n", "p").problems
    assert problem.message == words


def test_a_rules_file_is_read_from_the_policys_folder(tmp_path: Path) -> None:
    (tmp_path / "rules.md").write_text("Be brief.")
    file = tmp_path / "p.yaml"
    file.write_text("catch: [{inject: {file: rules.md}}]")
    policy, files = load_policy_files(file)
    assert policy.catch[0].inject and policy.catch[0].inject.text == "Be brief."
    assert files == [file, tmp_path / "rules.md"]


def test_anchors_and_merges_work_as_everywhere() -> None:
    policy = parse_policy("""
providers:
  a: &base {base_url: "http://a/v1", headers: {x: y}}
  b: {<<: *base, protocol: messages}
  c: {<<: [{protocol: chat}, *base], base_url: "http://c/v1"}
""")
    assert policy.providers["b"].base_url == "http://a/v1"
    assert policy.providers["b"].protocol == "messages"
    assert policy.providers["c"].headers == {"x": "y"}


def test_names_that_yaml_takes_for_something_else_are_names() -> None:
    text = 'providers: {1: {base_url: "http://a/v1"}}\nmodels: {yes: {provider: "1", model: "3.1"}}'
    assert list(parse_policy(text).models) == ["yes"]
