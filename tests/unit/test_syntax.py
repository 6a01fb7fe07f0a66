"""A policy that is no YAML: what is wrong is said in a sentence, at its line, which is shown."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from shim.policy import read
from shim.policy.load import examine

TOP = "providers:\n  a:\n"
LOADERS = [pytest.param(yaml.SafeLoader, id="python")]
if hasattr(yaml, "CSafeLoader"):
    LOADERS.append(pytest.param(yaml.CSafeLoader, id="libyaml"))


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("providers:\n\ta:\n", "2:1: not valid YAML: a tab (→) where YAML takes spaces only: `→a:`"),
        (TOP + "    base_url: http://x\n\tkey: abc\n", "4:1: not valid YAML: a tab (→) where YAML takes spaces only: `→key: …`"),
        (TOP + "    base_url: http://x\n    \tkey: abc\n", "4:5: not valid YAML: a tab (→)"),
        ("catch:\n  -\ttag: x\n    when: {}\n", "2:4: not valid YAML: a tab (→)"),
        (TOP + "    base_url: http://x\n   key: y\n",
         "4:4: not valid YAML: wrong indentation: the line begins in column 4, and those above it in column 1, 3 or 5; "
         "what belongs together begins in the same column: `   key: …`"),
        ("# first\n\n  a:\n    b: c\n\nd: e\n", "6:1: not valid YAML: wrong indentation: the line begins in column 1, and those above it in column 3 or 5;"),
        ("catch:\n  - tag: x\n   when: {}\n", "3:4: not valid YAML: wrong indentation: the line begins in column 4, and those above it in column 1, 3 or 5;"),
        ("catch:\n  - tag: x\n  when: {}\n", "3:3: not valid YAML: wrong indentation: what belongs to an entry of a list begins behind its dash"),
        (TOP + "    base_url: http://x\n      key: y\n", "4:10: not valid YAML: wrong indentation: the line is indented below one that has a value already: `      key: …`"),
        (TOP + "    base_url:http://x\n    key: y\n", "3:22: not valid YAML: the line lacks a space behind its colon: `    base_url:…`"),
        (TOP + "    key: y\n    base_url:http://x\n", "4:5: not valid YAML: the line lacks a space behind its colon"),
        ("providers\n  a:\n    b: c\n", "1:10: not valid YAML: the line lacks a colon behind its name: `providers`"),
        ("models:\n  m:\n    description: a: b\n", "3:19: not valid YAML: a value with a colon and a space in it is put in quotes"),
        (TOP + "    key: %NAME%\n", "3:10: not valid YAML: a value that begins with % is put in quotes"),
        (TOP + "    key: *\n", "not valid YAML"),
        ("x: *foo\n", "1:4: not valid YAML: a value that begins with * is put in quotes"),
        ("providers:\n  a: { key: ${KEY}, base_url: x }\n", '2:14: not valid YAML: between { and } a variable is put in quotes: "${KEY}"'),
        ("models:\n  m: { provider: demo\ndefault: m\n", "2:6: not valid YAML: the { in column 6 is not closed, or a comma is missing"),
        ('models:\n  m: { provider: "demo }\ndefault: m\n', '2:18: not valid YAML: the quote " in column 18 is not closed'),
        ("a: 1\n---\nb: 2\n", "2:1: not valid YAML: a policy is one document, without --- in it"),
        ("a: b\r\n\tc: d\r\n", "2:1: not valid YAML: a tab (→)"),
        (TOP + "    key: {{NAME}}\n", "a value with { in it is put in quotes"),
    ],
)  # fmt: skip
def test_what_is_no_yaml_is_explained(
    text: str, words: str, loader: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "_Loader", loader)
    report = examine(text, "p")
    assert len(report.problems) == 1
    sentence = str(report.problems[0])
    assert (
        sentence.startswith("p:") and words in sentence.removeprefix("p:") and "\n" not in sentence
    )


@pytest.mark.parametrize(
    "text",
    [
        TOP + "\tkey: S3CRET\n",
        TOP + "   key:S3CRET\n  b\n   c: d\n",
        TOP + "    key: [S3CRET\n",
        TOP + "    key: 'S3CRET\n",
        TOP + "    headers:\n      - S3CRET\n     x: y\n",
        TOP + "  S3CRET\n\tx: y\n",
    ],
)
def test_the_line_is_shown_without_a_value(text: str) -> None:
    (problem,) = examine(text, "p").problems
    assert "not valid YAML" in problem.message and "S3CRET" not in problem.message


def test_a_line_that_is_shown_is_short_and_plain() -> None:
    (problem,) = examine("\t" + "x" * 500 + "\x85", "p").problems
    assert len(problem.message) < 160 and problem.message.isprintable()
