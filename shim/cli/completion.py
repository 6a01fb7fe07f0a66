"""``interpose completion``: what a shell needs to complete commands, options and their values."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shlex
import sys
from pathlib import Path

from ..codex.catalog import models_of
from ..codex.where import own_command
from ..daemon.files import Files
from ..policy.load import PolicyError, load_policy
from . import COMMANDS, UsageError
from .chain import DEFAULT_POLICY

SHELLS = ("bash", "zsh", "fish")
_FILES = frozenset({"FILE", "FLOW", "MODELS.JSON"})
#: What a shell would expand is no name: a policy may come from anywhere.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@+-]*")
#: How each shell asks for the models of the policy, when it completes one.
_MODELS = {
    "bash": '_interpose_models() {{\n  compgen -W "$({0} 2>/dev/null)" -- "$1"\n}}',
    "zsh": '_interpose_models() {{\n  local -a names\n  names=(${{(f)"$({0} 2>/dev/null)"}})\n'
    "  compadd -a names\n}}",
    "fish": "function _interpose_models\n  {0} 2>/dev/null\nend",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The shell; what the shell itself asks for is not shown."""
    parser.add_argument("shell", nargs="?", choices=SHELLS, help="print the script for this one")
    parser.add_argument("--models", action="store_true", help=argparse.SUPPRESS)
    parser.epilog = 'Example, in ~/.bashrc: eval "$(interpose completion bash)"'


def run(args: argparse.Namespace) -> int:
    """Exit code 0."""
    if args.models:
        print("\n".join(models()))
        return 0
    if args.shell is None:
        raise UsageError(f"for which shell? There are {', '.join(SHELLS)}")
    sys.stdout.write(script(args.shell))
    return 0


def script(shell: str) -> str:
    """The completion script for ``shell``."""
    import shtab

    return str(shtab.complete(tree(), shell)) + "\n"


def models() -> list[str]:
    """The names of the policy in force that any shell can take; none where it is bad."""
    kept = Files().settings()
    named = str(kept.policy) if kept else os.environ.get("INTERPOSE_POLICY") or DEFAULT_POLICY
    try:
        policy = load_policy(Path(named).expanduser())
    except PolicyError:
        return []
    return [name for name in models_of(policy) if _NAME.fullmatch(name)]


def tree() -> argparse.ArgumentParser:
    """All commands as one parser, each argument with what completes it."""
    parser = argparse.ArgumentParser(prog="interpose")
    parser.add_argument("-V", "--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, text in COMMANDS.items():
        module = importlib.import_module(f".{name.replace('-', '_')}", __package__)
        child = commands.add_parser(name, help=text, description=text)
        module.add_arguments(child)
        _add_values(child)
    return parser


def _add_values(parser: argparse.ArgumentParser) -> None:
    import shtab

    asks = shlex.join([*own_command(), "completion", "--models"])
    models = {
        "bash": "_interpose_models",
        "zsh": "_interpose_models",
        "fish": "(_interpose_models)",
        "preamble": {shell: text.format(asks) for shell, text in _MODELS.items()},
    }
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                _add_values(child)
        elif action.dest == "model":
            action.complete = models  # type: ignore[attr-defined]
        elif action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
