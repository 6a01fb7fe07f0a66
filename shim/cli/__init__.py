"""The `interpose` command: one module per subcommand, imported only when it is asked for.

To add a command: a module here with ``add_arguments(parser)`` and ``run(args) -> int``, and a
line in COMMANDS (`patch-app` is the module `patch_app`). A module with ``PASSES_ON = True`` gets
what stands after ``--`` as ``args.rest``.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import shlex
import signal
import sys
from types import FrameType
from typing import NoReturn

from .pipe import of_output, printing

COMMANDS = {
    "serve": "run the chain in the foreground and print what to paste into Codex",
    "home": "write an isolated CODEX_HOME that sends Codex through the chain",
    "run": "run one Codex session through a chain of its own; nothing stays behind",
    "chat": "talk with a model or an agent of the policy in the terminal",
    "codex": "run your Codex through the daemon, with a home of Interpose's own that stays",
    "app": "start Codex Desktop, sent through the daemon, in a folder if you name one",
    "enable": "send your own Codex through the daemon: a block in ~/.codex/config.toml",
    "disable": "take the block out again; Codex is as it was before",
    "model": "the models Codex can ask for, and which one it asks for",
    "list": "the providers and models of the policy",
    "start": "start the daemon: the chain in the background",
    "stop": "end the daemon",
    "restart": "end the daemon and start it anew, with other options if any are given",
    "status": "whether the daemon runs, where, and whether Codex is sent through it",
    "ensure": "start the daemon if it does not run, and print the client key; Codex runs this",
    "generate": "write the config and the model catalog for Codex somewhere, to look at them",
    "uninstall": "disable, stop the daemon, and remove what Interpose keeps",
    "compare": "run one task over several models with the real Codex and compare what it took",
    "replay": "run recorded exchanges through today's code and compare byte for byte",
    "record": "make recordings fit to be shared: stable pseudonyms, and a check for what is left",
    "policy": "check policies, explain and compare what they do on recordings, import them",
    "repair": "show which tool calls a text holds, and why what looks like one is none",
    "stats": "what recorded sessions cost: tokens sent, cached, saved and billed, and money",
    "whatif": "what the sessions you have had cost, and would have cost under a policy",
    "audit": "the journal of exchanges: list and filter them, verify that nothing was changed",
    "top": "watch a running chain: turns under way, sessions, tokens, errors, providers",
    "open": "open a page of a running chain in the browser, signed in",
    "doctor": "look for what is wrong on this machine, and say what to do about it",
    "opencode-go": "the models of OpenCode Go, tried one by one, as entries of the policy",
    "completion": "what bash, zsh and fish need to complete commands, options and models",
    "patch-app": "let Codex Desktop for macOS show every model and thread; a backup is kept",
    "restore-app": "undo `interpose patch-app`: put the original Codex Desktop back",
    "tour": "watch a real Codex session fix a bug through the chain (`make run`)",
}


class UserError(Exception):
    """Something the user can set right, said in one line."""

    code = 1


class UsageError(UserError):
    """A command line that asks for what cannot be had; the exit code is argparse's own."""

    code = 2


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit code. Errors are one line on stderr, never a traceback."""
    words = sys.argv[1:] if argv is None else argv
    return printing(lambda: _run(words))


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_usage(), file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        print(f"interpose {_version()}")
        return 0
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(COMMANDS)}"
        return _complain(f"no command {name}; {hint}", 2)
    try:
        return _command(name, rest)
    except Exception as e:
        if isinstance(e, OSError) and of_output(e):
            raise
        if os.environ.get("INTERPOSE_DEBUG"):
            raise
        return _complain(_one_line(e), e.code if isinstance(e, UserError) else 1)


def codex_app() -> int:
    """`codex-app`, that is, `interpose app`."""
    return main(["app", *sys.argv[1:]])


def codex_model() -> int:
    """`codex-model`, that is, `interpose model`."""
    return main(["model", *sys.argv[1:]])


def _command(name: str, words: list[str]) -> int:
    module = importlib.import_module(f".{name.replace('-', '_')}", __package__)
    parser = argparse.ArgumentParser(prog=f"interpose {name}", description=COMMANDS[name] + ".")
    module.add_arguments(parser)
    rest: list[str] = []
    if getattr(module, "PASSES_ON", False) and "--" in words:
        at = words.index("--")
        words, rest = words[:at], words[at + 1 :]
    args, extra = parser.parse_known_args(words)
    if extra:
        hint = ""
        if getattr(module, "PASSES_ON", False) and not rest:
            more = " …" if len(words) > len(extra) else ""
            hint = f"; write interpose {name}{more} -- {shlex.join(extra)}"
        parser.error(f"unrecognized arguments: {' '.join(extra)}{hint}")
    args.rest = rest
    for ending in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        if hasattr(signal, ending):
            signal.signal(getattr(signal, ending), _end)
    return int(module.run(args))


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _one_line(e: Exception) -> str:
    from ..codex.config import ConfigError
    from ..codex.find import CodexMissing
    from ..codex.home import HomeError
    from ..codex.where import PlaceError
    from ..daemon.files import DaemonError
    from ..policy.load import PolicyError

    said = " ".join(str(e).split())
    known = UserError | CodexMissing | ConfigError | DaemonError | HomeError | PlaceError
    if isinstance(e, known | PolicyError):
        return said
    if isinstance(e, OSError) and e.strerror:
        return f"{e.filename}: {e.strerror}" if e.filename else e.strerror
    return f"internal error: {type(e).__name__}: {said} (INTERPOSE_DEBUG=1 shows where)"


def _complain(line: str, code: int) -> int:
    print(f"interpose: {line}", file=sys.stderr)
    return code


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        ["usage: interpose COMMAND …", "", *lines, "", "`interpose COMMAND --help` says more."]
    )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("interpose")
    except PackageNotFoundError:
        return "(checkout)"
