"""What the commands around the daemon share: its options, its settings, Codex's config for it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ..codex import edit
from ..codex.catalog import models_of
from ..codex.config import Setting
from ..codex.where import config_file
from ..daemon import control
from ..daemon.files import Files, Settings
from ..daemon.use import current_model, ensure_command, may_ask, use, usual_model
from ..policy.load import load_policy
from ..policy.schema import Policy
from ..record.folder import default_folder
from . import UserError
from .chain import DEFAULT_POLICY, NOWHERE, Options, add_record_arguments


def add_daemon_arguments(parser: argparse.ArgumentParser) -> None:
    """How the daemon is started; what is not said stays as it was the last time."""
    parser.add_argument(
        "--policy",
        metavar="FILE",
        help="policy YAML (else as before, else $INTERPOSE_POLICY, else policies/default.yaml)",
    )
    parser.add_argument("--port", type=int, help="loopback port (else as before, else 8790)")
    add_record_arguments(parser)


def settings(args: argparse.Namespace, files: Files) -> Settings:
    """The daemon that the command line means. UserError, PolicyError for a bad one."""
    kept = files.settings()
    named = args.policy or (kept.policy if kept else os.environ.get("INTERPOSE_POLICY"))
    record = str(default_folder()) if kept is None else kept.record_dir
    if args.no_record:
        record = ""
    elif args.record:
        record = args.record
    made = Settings(
        policy=str(Path(named or DEFAULT_POLICY).expanduser().absolute()),
        port=args.port if args.port is not None else (kept or Settings("")).port,
        record_dir=str(Path(record).expanduser().absolute()) if record else "",
    )
    if not 0 < made.port < 65536:
        raise UserError(f"--port must be between 1 and 65535, is {made.port}")
    load_policy(Path(made.policy))
    return made


def kept_settings(files: Files) -> Settings:
    """As the daemon was started last, or would be the first time."""
    nothing = argparse.Namespace(policy=None, port=None, record=None, no_record=False)
    return files.settings() or settings(nothing, files)


def words(settings: Settings) -> list[str]:
    """The command line of its mitmdump."""
    chain = Options(Path(settings.policy), NOWHERE, None, None, settings.record_dir)
    return chain.arguments(settings.port)


def running_settings(files: Files) -> Settings:
    """The settings of a daemon that was started if need be, with a line about the wait."""
    if not files.who():
        control.start(kept_settings(files), files, say)
    who = files.who()
    return Settings(who["policy"], who["port"], who["record_dir"]) if who else kept_settings(files)


def say(line: str) -> None:
    """Progress, for whoever waits at the terminal."""
    print(f"interpose: {line} …", file=sys.stderr, flush=True)


def write_block(settings: Settings, model: str | None) -> tuple[Path, str, bool]:
    """The block for that daemon in Codex's config: the file, the model, whether that is new.

    A model that is asked for is switched to: turns of open sessions go there, too.
    """
    file = config_file()
    made = setting(settings, model, file)
    if model:
        policy = load_policy(Path(settings.policy))
        return file, model, use(model, settings.base_url, Files(), policy, enable=True).changed
    return file, made.model, edit.enable(file, made)


def setting(settings: Settings, model: str | None, file: Path) -> Setting:
    """What the block in ``file`` is to say; the model is the one asked for, else the one in use."""
    policy, files = load_policy(Path(settings.policy)), Files()
    if model:
        known(model, policy)
    else:
        stands = current_model(edit.read(file) or b"", str(file))
        model = stands if stands and may_ask(stands, policy) else usual_model(files, policy)
    return Setting(model, settings.base_url, ensure_command(files))


def known(model: str, policy: Policy) -> None:
    """UserError when the policy knows no such model."""
    if may_ask(model, policy):
        return
    import difflib

    names = list(models_of(policy))
    close = difflib.get_close_matches(model, names, 1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names) or 'none'}"
    raise UserError(f"the policy has no model {model}; {hint} (PROVIDER:name works, too)")
