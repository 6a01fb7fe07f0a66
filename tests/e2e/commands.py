"""The page docs/commands.md: what it shows of each command, and the text made of that.

A new command needs an entry in ENTRIES; then
INTERPOSE_WRITE_DOCS=1 pytest tests/e2e/test_commands.py.
"""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from shim.cli import COMMANDS
from tests.e2e.chain import ROOT

PAGE = ROOT / "docs" / "commands.md"

HEAD = """\
# Every command

What each command is for, how it is called, and what it says on a machine that has just got it: the
policy is `policy.yaml`, with the offline demo model as `demo` and `other`, and a daemon runs with
it. `interpose COMMAND --help` explains the options.

A table fits the terminal: names are shortened and columns left out, which is said, and no number
is cut. Through a pipe it is whole. A reader that goes away (`| head`) ends a command with 141, as
it ends others.

This page is written by the test that runs what it shows.
"""
DAILY = "[Every day](daily.md) shows it."


@dataclass(frozen=True)
class Entry:
    """What is shown of a command: lines for a shell, and where there is more.

    ``codex``: it runs Codex. ``linux``: elsewhere it says something else. ``first`` and ``last``:
    so many lines are left of what a line prints.
    """

    lines: tuple[str, ...] = ()
    see: str = ""
    codex: bool = False
    linux: bool = False
    first: int = 0
    last: int = 0


ENTRIES = {
    "serve": Entry(("interpose serve --policy policy.yaml --no-record",)),
    "home": Entry(("interpose home mine --policy policy.yaml", "ls mine")),
    "run": Entry(
        ("interpose run --policy policy.yaml --no-record -- exec --skip-git-repo-check hello",),
        "[With Codex](use-with-codex.md) has more.",
        codex=True,
    ),
    "chat": Entry(
        ("printf 'hello\\nbye\\n' | interpose chat --policy policy.yaml --record recordings",),
    ),
    "codex": Entry(("interpose codex -- exec --skip-git-repo-check hello",), codex=True),
    "app": Entry(
        ("interpose app",),
        "Here on Linux; [With Codex Desktop](desktop.md) says what it does on a Mac.",
        linux=True,
    ),
    "enable": Entry(see=DAILY),
    "disable": Entry(see=DAILY),
    "model": Entry(see=DAILY),
    "list": Entry(("interpose list --policy policy.yaml",)),
    "start": Entry(see=DAILY),
    "stop": Entry(see=DAILY),
    "restart": Entry(("interpose restart --port 8791",)),
    "status": Entry(see=DAILY),
    "ensure": Entry(("interpose ensure",)),
    "generate": Entry(("interpose generate review", "head -6 review/config.toml")),
    "uninstall": Entry(("interpose uninstall", "interpose status")),
    "compare": Entry(see="[Comparing models on a task](compare.md) shows it."),
    "replay": Entry(
        ("interpose replay recordings",),
        "[Recording and replay](recording-and-replay.md) has more.",
    ),
    "record": Entry(
        (
            "interpose record --sanitise recordings -o shared.flow",
            "interpose record --check shared.flow",
        ),
    ),
    "policy": Entry(
        ("interpose policy check policy.yaml", "interpose policy explain recordings"),
        "[The policy](policy.md) has more.",
    ),
    "repair": Entry(("cat answer.txt", "interpose repair answer.txt")),
    "stats": Entry(("interpose stats recordings",)),
    "whatif": Entry(
        ("interpose whatif",), "Here with one session of Codex in `~/.codex/sessions`."
    ),
    "audit": Entry(
        ("interpose audit --journal recordings", "interpose audit verify --journal recordings"),
        "[The journal](audit.md) has more.",
    ),
    "top": Entry(("interpose top --once",), "[Watch a running chain](live.md) has more."),
    "open": Entry(("interpose open --print picker",), "[Watch a running chain](live.md) has more."),
    "doctor": Entry(
        ("interpose doctor --policy policy.yaml --record recordings",),
        "[When something is off](doctor.md) has more.",
        first=4,
        last=1,
    ),
    "opencode-go": Entry(
        ("interpose opencode-go refresh --policy policy.yaml",),
        "It needs a key; [OpenCode Go](opencode-go.md) shows what it then does.",
    ),
    "completion": Entry(("interpose completion bash",), first=2),
    "patch-app": Entry(
        ("interpose patch-app",),
        "Here on Linux; [With Codex Desktop](desktop.md) says what it does on a Mac.",
        linux=True,
    ),
    "restore-app": Entry(("interpose restore-app",), linux=True),
    "tour": Entry(see="The [README](../README.md) shows it."),
}

UUID = "5a17c0de-0000-0000-0000-00000000c0de"
#: What differs from run to run, and how it stands on the page.
MASKS = [
    (re.compile(pattern), text)
    for pattern, text in (
        (r"process \d+", "process 4711"),
        (r"\b20\d{6}-\d{6}-\d+-[0-9a-f]{8}(?=\.flow)", "20261121-081500-4711-5e1f0a2c"),
        (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", UUID),
        (r"\b\d\d-\d\d \d\d:\d\d:\d\d\b", "11-21 08:15:00"),
        (r"…[0-9a-f]{12}\b", "…0123456789ab"),
        (r"…[0-9a-f]{8}\b", "…456789ab"),
        (r"\b[0-9a-f]{8}(?=  \n|\n)", "5a17c0de"),
        (r"(?<=200  )( *)\d+\.\d\d(?=  )", r"\g<1>0.05"),
        (r"\[\d\d:\d\d:\d\d\.\d{3}\]", "[08:15:00.000]"),
        (r"(?<=running for)( +)\d+ s ", r"\1 1 s"),
        (r"(?m)^[\w-]{43}$", "the-key-of-this-daemon"),
        (r"\btoken=[\w.-]+", "token=a-word-that-is-good-once"),
        (r"Python 3\.\d+\.\d+ \(.*\)", "Python 3.12.1 (/opt/venv/bin/python)"),
        (r"mitmproxy \d+(\.\d+)+", "mitmproxy 12.2.3"),
        (r"(?m) +$", ""),
    )
]  # fmt: skip


def masked(text: str) -> str:
    """``text`` as it is on every machine, every time."""
    for pattern, instead in MASKS:
        text = pattern.sub(instead, text)
    return text


def usages(name: str) -> list[str]:
    """How a command is called, and each of its own commands, as its help begins."""
    module = importlib.import_module(f"shim.cli.{name.replace('-', '_')}")
    parser = argparse.ArgumentParser(prog=f"interpose {name}")
    module.add_arguments(parser)
    return [found.format_usage() for found in _parsers(parser)]


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for found in group.choices.values():
            yield from _parsers(found)


def opening(name: str) -> str:
    """The part of the page about a command, up to what it says."""
    line = COMMANDS[name][0].upper() + COMMANDS[name][1:] + "."
    see = ENTRIES[name].see
    return f"{line}{f' {see}' if see else ''}\n\n```text\n{''.join(usages(name))}```\n"


def said(lines: list[str]) -> str:
    """The part of the page about what it says."""
    return f"\n```text\n{''.join(lines)}```\n" if lines else ""


def sections(text: str) -> dict[str, tuple[str, str]]:
    """The page by its commands: how each is called, and what it says."""
    _, *parts = re.split(r"^## `(.+)`\n\n", text, flags=re.M)
    found = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        head, sign, rest = body.rstrip("\n").partition("\n\n```text\n$ ")
        found[name] = (head.rstrip("\n") + "\n", f"\n```text\n$ {rest}\n" if sign else "")
    return found


def page(found: dict[str, str]) -> str:
    """The whole page, of what each command has said."""
    parts = [f"## `{name}`\n\n{opening(name)}{found.get(name, '')}" for name in COMMANDS]
    return "\n".join([HEAD, *parts])
