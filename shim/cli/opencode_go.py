"""``interpose opencode-go refresh``: the models of OpenCode Go as entries of the policy."""

from __future__ import annotations

import argparse
import asyncio
import difflib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..client import is_loopback
from ..codex.config import ConfigError
from ..codex.edit import write
from ..daemon.files import Files
from ..opencode_go import BASE_URL, KEY_ENV
from ..opencode_go.answers import PROTOCOLS, Stop
from ..opencode_go.entries import PROVIDERS, Made, entries
from ..policy.block import Block, BlockError
from ..policy.load import load_policy
from ..shown import plain
from . import UsageError, UserError
from .chain import DEFAULT_POLICY

BLOCK = Block("interpose opencode-go", "interpose opencode-go refresh")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is asked, and where it is written."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    refresh = commands.add_parser(
        "refresh", help="ask which models there are, try each, write them into the policy"
    )
    refresh.add_argument(
        "--policy", metavar="FILE", help="the policy (else the daemon's, else $INTERPOSE_POLICY)"
    )
    refresh.add_argument(
        "--prefer",
        choices=PROTOCOLS,
        default="chat",
        help="the endpoint for a model that answers at both (default: %(default)s)",
    )
    refresh.add_argument(
        "--api-key-env",
        metavar="NAME",
        default=KEY_ENV,
        help="the variable that holds the key (default: %(default)s)",
    )
    refresh.add_argument(
        "--base-url", metavar="URL", default=BASE_URL, help="(default: %(default)s)"
    )
    refresh.add_argument(
        "--dry-run", action="store_true", help="only show what would change in the policy"
    )


def run(args: argparse.Namespace) -> int:
    """Exit code 0 when the policy holds what was found; else it is as it was."""
    path = _policy(args.policy)
    key = _key(args.api_key_env)
    url = _address(args.base_url)
    # What cannot be edited later is told before anything is asked.
    load_policy(path)
    before = _entries(_read(path), path)
    try:
        ids, useless, found = asyncio.run(_ask(url, key))
        made = entries(ids, found, before, args.prefer, url, args.api_key_env)
    except Stop as e:
        said = str(e).replace(key, "[redacted]")
        raise UserError(f"{url}: {said}; {path} is as it was") from None
    # It took a while, and the user may have edited the file meanwhile.
    text = _read(path)
    try:
        new = BLOCK.apply(text, made.sections, path)
    except BlockError as e:
        raise UserError(f"{e}; {path} is as it was") from None
    if args.dry_run:
        _show(text, new, path)
    elif new != text:
        _write(path, new)
    for line in _told(made, before, _entries(new, path), useless):
        print(plain(line.replace(key, "[redacted]")))
    print(f"{path} is as it was" if args.dry_run else f"{path} is up to date")
    return 0


def _policy(named: str | None) -> Path:
    """The policy in force. The one that comes with Interpose is written to only when named."""
    kept = Files().settings()
    chosen = named or (str(kept.policy) if kept else os.environ.get("INTERPOSE_POLICY"))
    if not chosen or (not named and Path(chosen) == DEFAULT_POLICY):
        raise UsageError(
            "which policy? Name yours with --policy or INTERPOSE_POLICY; for one to begin with,"
            f" copy {DEFAULT_POLICY}"
        )
    return Path(chosen).expanduser().absolute()


def _key(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise UsageError(
            f"--api-key-env takes the name of a variable, such as {KEY_ENV}, not a key"
        )
    key = os.environ.get(name, "").strip()
    if not key:
        raise UserError(f"{name} is not set: export {name} with your key of OpenCode Go")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UserError(f"{name} holds something that is no key: spaces or other characters in it")
    return key


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise UsageError("--base-url must be an https:// address, without a password")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise UsageError("--base-url must be https://: the key goes there")
    return url.rstrip("/")


async def _ask(url: str, key: str) -> tuple[list[str], int, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from ..opencode_go.probe import Plan

    plan = Plan(url, key, secrets.token_hex(16))
    try:
        ids, useless = await plan.models()
        console = Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        with Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        ) as progress:
            task = progress.add_task(f"Trying {len(ids)} models", total=len(ids) * len(PROTOCOLS))
            found = await plan.probe(ids, lambda n, of: progress.update(task, completed=n))
        return ids, useless, found
    finally:
        await plan.close()


def _read(path: Path) -> str:
    """The policy's text with its own line ends; a byte order mark stays in front."""
    try:
        return path.read_bytes().decode()
    except OSError as e:
        raise UserError(f"{path}: {e.strerror or e}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8 text") from None


def _write(path: Path, text: str) -> None:
    try:
        write(path, text.encode())
    except ConfigError as e:
        raise UserError(str(e)) from None


def _entries(text: str, path: Path) -> dict[str, Any]:
    """The models in the managed part."""
    try:
        return BLOCK.entries(text, str(path)).get("models", {})
    except BlockError as e:
        raise UserError(f"{e}; {path} is as it was") from None


def _show(old: str, new: str, path: Path) -> None:
    # No lines around: a key might stand there.
    diff = difflib.unified_diff(
        old.splitlines(), new.splitlines(), str(path), f"{path} (new)", lineterm="", n=0
    )
    for line in diff:
        print(plain(line))


def _told(made: Made, before: dict[str, Any], after: dict[str, Any], useless: int) -> Iterator[str]:
    for protocol, provider in PROVIDERS.items():
        names = [name for name, entry in after.items() if entry["provider"] == provider]
        if names:
            yield f"{protocol}: {', '.join(names)}"
    for id, why in made.kept.items():
        yield f"{id}: kept as it was, since it could not be tried ({why})"
    for id, why in made.left.items():
        yield f"{id}: left out ({why})"
    if hand := [name for name in made.sections["models"] if name not in after]:
        yield f"your own entries are kept instead: {', '.join(hand)}"
    if useless:
        yield f"{useless} entries of the list have no id that can be used"
    new, gone = len(after.keys() - before.keys()), len(before.keys() - after.keys())
    yield f"{len(after)} models of OpenCode Go: {new} new, {gone} gone"
