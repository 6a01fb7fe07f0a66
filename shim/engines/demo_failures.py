"""What a failing test run says: which calls were made, what was expected and what came out.

Understands assertions as unittest, pytest and plain scripts print them, doctest reports, TAP with
`expected:`/`got:` lines, and the same forms in the source of the tests.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from .demo_eval import parse

_DOCTEST = re.compile(
    r"Failed example:\n((?: {4}.*\n)+)Expected(?: nothing|:\n((?: {4}.*\n)+))"
    r"(?:Got(?: nothing|:\n((?: {4}.*\n)+)))?"
)
_PROMPT = re.compile(r"^ *>>> (.+)\n((?:(?! *>>>)[ \t]*\S.*\n?)?)", re.M)
_TAP = re.compile(r"^ *not ok\b[ \d]*(?:- )?(.+)\n((?:[ #].*\n)*)", re.M)
_UNEQUAL = re.compile(r"(?:AssertionError:|E {3,}assert) +(\S.*?) (?:!=|==) (.+)")
_SCRIPT = re.compile(r"(?:[eE]qual|toBe|toEqual)\((\w+\([^()\n]*\)), *([^()\n]+)\)")
_SAID = re.compile(r"^[ #]*(expected|wanted|got|actual|received)\b:? *(.+)$", re.M | re.I)
_MEANT = ("expected", "wanted")


@dataclass(frozen=True)
class Example:
    """One checked call. ``expected`` and ``actual`` are source text ("" where not stated);
    ``call`` and ``want`` are their syntax trees where the text is Python."""

    text: str
    expected: str = ""
    actual: str = ""
    call: ast.Call | None = None
    want: ast.expr | None = None

    def sentence(self) -> str:
        """The failure in words."""
        said = f"`{self.text}`"
        if self.expected:
            said += f" should give `{self.expected}`"
        return f"{said} but gives `{self.actual}`" if self.actual else said


def failures(output: str) -> list[Example]:
    """The failed checks a test run's output names; empty where it names none."""
    output += "\n"
    found = list(_doctest_failures(output)) + list(_tap(output))
    pairs = _UNEQUAL.finditer(output)
    for line in output.splitlines():
        if example := _assertion_line(line):
            sides = next(pairs, None) if example.expected not in ("True", "False") else None
            actual = next((s for s in sides.groups() if s != example.expected), "") if sides else ""
            found.append(replace(example, actual=actual))
    return _unique(found)


def checks(test_source: str) -> list[Example]:
    """Every check the text of a test file makes that can be read as call and expected value."""
    found = [_example(m[1], m[2].strip()) for m in _PROMPT.finditer(test_source) if m[2].strip()]
    found += [_example(m[1], m[2]) for m in _SCRIPT.finditer(test_source)]
    if tree := parse(test_source):
        for node in ast.walk(tree):
            if isinstance(node, ast.Assert | ast.Call) and (example := _assertion(node)):
                found.append(example)
    return _unique(found)


def _unique(examples: list[Example]) -> list[Example]:
    seen: dict[tuple[str, str], Example] = {}
    for example in examples:
        seen.setdefault((example.text, example.expected), example)
    return list(seen.values())


def _doctest_failures(output: str) -> Iterator[Example]:
    for match in _DOCTEST.finditer(output):
        text, expected, actual = ((part or "").strip() for part in match.groups())
        yield _example(text, expected, actual)


def _tap(output: str) -> Iterator[Example]:
    for match in _TAP.finditer(output):
        said = {word.lower(): value.strip() for word, value in _SAID.findall(match[2])}
        expected = next((said[w] for w in _MEANT if w in said), "")
        actual = next((v for w, v in said.items() if w not in _MEANT), "")
        yield _example(match[1].strip(), expected, actual)


def _example(text: str, expected: str = "", actual: str = "") -> Example:
    return Example(text, expected, actual, _call(_expression(text)), _expression(expected))


def _expression(text: str) -> ast.expr | None:
    tree = parse(text.strip())
    if tree and len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr):
        return tree.body[0].value
    return None


def _call(node: ast.expr | None) -> ast.Call | None:
    return node if isinstance(node, ast.Call) else None


def _assertion_line(line: str) -> Example | None:
    """`self.assertEqual(f(1), 2)` or `assert f(1) == 2` as a traceback shows them."""
    text = line.lstrip("> \t")
    if not text.startswith(("assert ", "self.assert")):
        return None
    tree = parse(text)
    if not tree or len(tree.body) != 1:
        return None
    node = tree.body[0]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return _assertion(node.value)
    return _assertion(node) if isinstance(node, ast.Assert) else None


def _assertion(node: ast.Assert | ast.Call) -> Example | None:
    if isinstance(node, ast.Assert):
        return _condition(node.test, True)
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if name in ("assertEqual", "assertEquals", "assertIs", "assertAlmostEqual"):
        return _equal(*node.args[:2]) if len(node.args) >= 2 else None
    if name in ("assertTrue", "assertFalse") and node.args:
        return _condition(node.args[0], name == "assertTrue")
    return None


def _condition(test: ast.expr, truth: bool) -> Example | None:
    match test:
        case ast.Compare(left=left, ops=[ast.Eq() | ast.Is()], comparators=[right]) if truth:
            return _equal(left, right)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _condition(operand, not truth)
        case ast.Call():
            return _equal(test, ast.Constant(truth))
    return None


def _equal(left: ast.expr, right: ast.expr) -> Example | None:
    call, want = (left, right) if isinstance(left, ast.Call) else (right, left)
    if not isinstance(call, ast.Call):
        return None
    return Example(ast.unparse(call), ast.unparse(want), "", call, want)
