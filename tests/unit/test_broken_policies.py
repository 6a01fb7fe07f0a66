"""Two hundred broken policies: each a clear error at its place, none accepted, nothing else raised."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.policy.load import PolicyError, examine, load_policy, parse_policy

GOOD = (Path(__file__).parent / "whole_policy.yaml").read_text("utf-8")
LINES = GOOD.splitlines()
COUNT = 200
_FIELD = re.compile(r"^(\s*(?:- )?(?:\{ ?)?)([A-Za-z_]+):( .*|$)")
Broken = tuple[str, int | None]


def fields(pick: Callable[[re.Match[str]], bool] = lambda m: True) -> list[int]:
    """The lines that hold a field, by index."""
    found = [(n, _FIELD.match(line)) for n, line in enumerate(LINES)]
    return [n for n, m in found if m and pick(m) and not line_is_text(n)]


def line_is_text(n: int) -> bool:
    """Whether the line belongs to a block of free text."""
    return LINES[n].startswith("      |") or LINES[n].strip().startswith("#")


def with_line(n: int, line: str) -> str:
    return "\n".join([*LINES[:n], line, *LINES[n + 1 :]]) + "\n"


def unknown_key(rng: random.Random) -> Broken:
    # Names of providers, models and tools are free; their fields are not.
    n = rng.choice(fields(lambda m: m[2] in KNOWN))
    m = _FIELD.match(LINES[n])
    assert m
    return with_line(n, f"{m[1]}{m[2]}x:{m[3]}"), n + 1


def wrong_type(rng: random.Random) -> Broken:
    n = rng.choice(fields(lambda m: m[2] in KNOWN and m[3].strip() not in ("", "|")))
    m = _FIELD.match(LINES[n])
    assert m
    wrong = "3.5" if m[2] in ("when", "health", "price") else "{ surely: [not, this] }"
    return with_line(n, f"{m[1]}{m[2]}: {wrong}"), n + 1


def twice(rng: random.Random) -> Broken:
    n = rng.choice(fields(lambda m: "- " not in m[1] and m[3].strip() not in ("", "|")))
    return "\n".join([*LINES[: n + 1], LINES[n], *LINES[n + 1 :]]) + "\n", n + 2


def bad_pattern(rng: random.Random) -> Broken:
    n = rng.choice(fields(lambda m: m[2] == "pattern"))
    m = _FIELD.match(LINES[n])
    assert m
    bad = rng.choice(["'('", "'[a'", "'a{2,1}'", "'(?=x)y'", "'*'", "'(?P<n'", "''", "'\\1(a)'"])
    return with_line(n, f"{m[1]}pattern: {bad}"), n + 1


def bad_reference(rng: random.Random) -> Broken:
    n = rng.choice(fields(lambda m: m[2] in ("provider", "default", "classifier", "fallback")))
    m = _FIELD.match(LINES[n])
    assert m
    return with_line(n, f"{m[1]}{m[2]}: nobody-{rng.randint(0, 9)}"), n + 1


def bad_unit(rng: random.Random) -> Broken:
    names = ("cooldown", "cap", "larger_than", "older_than", "tokens", "timeout", "within")
    n = rng.choice(fields(lambda m: m[2] in names))
    m = _FIELD.match(LINES[n])
    assert m
    return with_line(
        n, f"{m[1]}{m[2]}: {rng.choice(['soon', '5 apples', '-3kb', '1e3s', 'kb'])}"
    ), n + 1


def bad_number(rng: random.Random) -> Broken:
    n = rng.choice(fields(lambda m: m[2] in ("threshold", "money", "context_window", "failures")))
    m = _FIELD.match(LINES[n])
    assert m
    return with_line(n, f"{m[1]}{m[2]}: {rng.choice(['-1', '.nan', '-.inf', 'many', '[]'])}"), n + 1


def cycle(rng: random.Random) -> Broken:
    names = [f"c{n}" for n in range(rng.randint(1, 4))]
    after = [*names[1:], names[0]]
    pairs = zip(names, after, strict=True)
    made = [f"  {a}: {{ provider: cloud, fallbacks: [small, {b}] }}\n" for a, b in pairs]
    return GOOD.replace("models:\n", "models:\n" + "".join(made), 1), None


def bomb(rng: random.Random) -> Broken:
    kind = rng.randint(0, 5)
    if kind == 0:
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
        return "\n".join(lines) + "\n" + GOOD, None
    if kind == 1:
        return GOOD + "x: &x [*x]\n", None
    if kind == 2:
        return GOOD + "x: " + "[" * 50_000 + "\n", None
    if kind == 3:
        return GOOD + "x:\n" + "".join(f"{' ' * n}- \n" for n in range(1, 2000)), None
    if kind == 4:
        return GOOD + "x: " + "- " * 20_000 + "y\n", None
    return GOOD + "#" + "x" * (5 << 20), None


def torn(rng: random.Random) -> Broken:
    kind = rng.choice(["tab", "bracket", "quote", "byte", "colon", "tag"])
    n = rng.choice(fields())
    bad = {
        "tab": "\t- x: y",
        "bracket": "odd: [unclosed",
        "quote": 'odd: "unclosed',
        "byte": "odd: \x07",
        "colon": "odd: a: b: c",
        "tag": "odd: !!python/object/apply:os.system [ls]",
    }[kind]
    return "\n".join([*LINES[:n], bad, *LINES[n:]]) + "\n", None


KNOWN = {m[2] for n, line in enumerate(LINES) if (m := _FIELD.match(line))} - {
    "cloud",
    "local",
    "direct",
    "claude",
    "small",
    "big",
    "strong",
    "vision",
    "exec_command",
    "web_search",
    "write_stdin",
    "x",
    "key_id",
}
WAYS = [
    unknown_key,
    wrong_type,
    twice,
    bad_pattern,
    bad_reference,
    bad_unit,
    bad_number,
    cycle,
    bomb,
    torn,
]


def test_the_good_one_is_good() -> None:
    report = examine(GOOD, "p", environ={"CLOUD_KEY": "x", "KEY_ID": "y", "TEAM_SECRET": "z"})
    assert not report.problems and not report.warnings and report.policy


@pytest.mark.parametrize("number", range(COUNT))
def test_a_broken_policy_gets_an_error_at_its_place(number: int) -> None:
    rng = random.Random(number)
    text, line = WAYS[number % len(WAYS)](rng)
    begun = time.perf_counter()
    with pytest.raises(PolicyError) as raised:
        parse_policy(text, "policy.yaml")
    # Not a measurement: what blows up would take minutes.
    assert time.perf_counter() - begun < 5
    problem = raised.value.problems[0]
    said = str(raised.value)
    assert "\n" not in said and said.startswith(f"policy.yaml:{problem.line}:{problem.column}: ")
    assert 1 <= problem.line <= text.count("\n") + 1 and problem.column >= 1
    assert len(problem.message) > 5 and "Traceback" not in said
    if line is not None:
        assert any(p.line == line for p in raised.value.problems), (
            line,
            said,
            text.splitlines()[line - 1],
        )


def test_bytes_that_are_no_text_and_folders_are_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(bytes(range(256)))
    for name in ("bytes.yaml", "none.yaml", "."):
        with pytest.raises(PolicyError, match=r":1:1: ") as raised:
            load_policy(tmp_path / name)
        assert "\n" not in str(raised.value)
