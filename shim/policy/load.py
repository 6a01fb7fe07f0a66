"""Reads a policy file and says, with file, line and column, what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from .check import Tell, check
from .read import Document, NotReadable, Problem, Where, read
from .schema import Policy
from .types import check_type, nearest
from .variables import VARIABLE
from .warn import warnings

__all__ = [
    "MissingVariable",
    "PolicyError",
    "Report",
    "examine",
    "expand",
    "load_policy",
    "load_policy_files",
    "nearest",
    "parse_policy",
]


class PolicyError(Exception):
    """What is wrong with a policy: the first problem as ``FILE:LINE:COLUMN: FIELD: what``, and how
    many more there are; ``problems`` has them all."""

    def __init__(self, problems: list[Problem]) -> None:
        more = len(problems) - 1
        super().__init__(f"{problems[0]}" + (f" (and {more} more)" if more else ""))
        self.problems = problems


class MissingVariable(Exception):
    """A ``${NAME}`` of the policy is not in the environment; ``name`` says which."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Report(msgspec.Struct):
    """What there is to say about a policy; ``policy`` is None where it cannot be used."""

    problems: list[Problem]
    warnings: list[Problem]
    policy: Policy | None = None
    files: list[Path] = []


def expand(text: str, environ: Mapping[str, str] | None = None) -> str:
    """Replace each ``${NAME}`` in ``text`` by its value; MissingVariable when one is not set."""
    if "${" not in text:
        return text
    env = os.environ if environ is None else environ
    for name in VARIABLE.findall(text):
        if not env.get(name):
            raise MissingVariable(name)
    return VARIABLE.sub(lambda match: env[match[1]], text)


def load_policy(path: str | Path) -> Policy:
    """The policy in the file at ``path``; PolicyError when it cannot be read or is not valid."""
    return load_policy_files(path)[0]


def load_policy_files(path: str | Path) -> tuple[Policy, list[Path]]:
    """The policy at ``path``, and the files it was read from."""
    file = Path(path).expanduser()
    try:
        text = read(file)
    except NotReadable as e:
        raise PolicyError([msgspec.structs.replace(e.problem, file=str(path))]) from None
    report = examine(text, str(path), file.parent)
    if report.policy is None:
        raise PolicyError(report.problems)
    return report.policy, [file, *report.files]


def parse_policy(text: str, source: str = "policy") -> Policy:
    """The policy in ``text``; ``source`` names the file in errors."""
    report = examine(text, source)
    if report.policy is None:
        raise PolicyError(report.problems)
    return report.policy


def examine(
    text: str,
    source: str,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Report:
    """All that is wrong with the policy in ``text``, and all that may be meant but costs.

    Files that it names are looked for in ``folder``.
    """
    try:
        document = Document(text, source)
    except NotReadable as e:
        return Report([e.problem], [])
    problems = document.problems

    def tell(where: Where, message: str) -> None:
        problems.append(document.problem(where, message))

    data = document.data
    check_type(data, Policy, tell)
    if problems:
        return Report(_sorted(problems), [])
    policy = msgspec.convert(data, Policy)
    check(policy, tell)
    files: list[Path] = []
    policy = _with_files(policy, folder or Path(), files, tell)
    if problems:
        return Report(_sorted(problems), [])
    told = [document.problem(where, said) for where, said in warnings(policy, environ)]
    return Report([], _sorted(told), policy, files)


def _sorted(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda p: (p.line, p.column))


def _with_files(policy: Policy, folder: Path, files: list[Path], tell: Tell) -> Policy:
    """``policy`` with the texts of the files that its rules name."""
    rules = list(policy.catch)
    for number, rule in enumerate(rules):
        if not (rule.inject and rule.inject.file is not None):
            continue
        file = folder / Path(rule.inject.file).expanduser()
        files.append(file)
        try:
            text = read(file)
        except NotReadable as e:
            said = f"{e.problem.file}: {e.problem.message}"
            tell(("catch", number, "inject", "file"), said)
            continue
        inject = msgspec.structs.replace(rule.inject, text=text)
        rules[number] = msgspec.structs.replace(rule, inject=inject)
    return msgspec.structs.replace(policy, catch=rules) if files else policy
