"""The scripted agent: what it can do, and how it reads the prompt.

A script is a generator that yields the calls of one turn and is sent the texts of their outputs,
as they stand in the prompt that reached the model. It knows nothing else of its files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

_HEAD = re.compile(r"\A(?:[^\n]*\n)*?Output:\n")


@dataclass(frozen=True)
class Call:
    """One tool call: ``exec_command`` with a command, or ``apply_patch`` with a patch."""

    name: str
    given: str

    @property
    def arguments(self) -> str:
        """The call's arguments as JSON, where it goes out as a function."""
        key = "cmd" if self.name == "exec_command" else "input"
        return json.dumps({key: self.given})


Turn = list[Call]
Script = Generator[Turn, list[str], str]
Step = Generator[Turn, list[str], Any]


class Broken(Exception):
    """The prompt does not hold what the agent must read there."""


def body(output: str) -> str:
    """What a command wrote, without what Codex puts before it."""
    found = _HEAD.match(output)
    return output[found.end() :] if found else output


def run(command: str) -> Step:
    """One command; its output."""
    (output,) = yield [Call("exec_command", command)]
    return body(output)


def together(*commands: str) -> Step:
    """Several commands in one turn; their outputs."""
    outputs = yield [Call("exec_command", command) for command in commands]
    return [body(output) for output in outputs]


def read(path: str, first: int = 1, last: int = 200) -> Step:
    """Lines of a file, as agents read them."""
    text = yield from run(f"sed -n '{first},{last}p' {path}")
    return text.splitlines()


def add(path: str, text: str) -> Step:
    """A new file."""
    lines = "".join(f"+{line}\n" for line in text.splitlines())
    yield [Call("apply_patch", f"*** Begin Patch\n*** Add File: {path}\n{lines}*** End Patch\n")]


def edit(path: str, seen: list[str], pattern: str, made: str, *, around: int = 2) -> Step:
    """Replace the first line of ``seen`` in which ``pattern`` is found, with lines around it."""
    at = next((n for n, line in enumerate(seen) if re.search(pattern, line)), None)
    if at is None:
        raise Broken(f"{path}: no line with {pattern!r} among those read")
    before = seen[max(0, at - around) : at]
    after = seen[at + 1 : at + 1 + around]
    new = re.sub(pattern, made, seen[at])
    hunk = [f" {x}" for x in before] + [f"-{seen[at]}"]
    hunk += [f"+{x}" for x in new.split("\n")] + [f" {x}" for x in after]
    lines = "\n".join(hunk)
    patch = f"*** Begin Patch\n*** Update File: {path}\n@@\n{lines}\n*** End Patch\n"
    (said,) = yield [Call("apply_patch", patch)]
    if "Success" not in said and "Done" not in said:
        raise Broken(f"{path}: the patch was refused: {said[:300]}")
    seen[at : at + 1] = new.split("\n")
