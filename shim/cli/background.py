"""What the commands around the daemon share: its options, its settings, Codex's config for it."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from ..codex import edit
from ..codex.config import Setting
from ..codex.where import config_file
from ..daemon import control, env
from ..daemon.files import Files, Settings, page
from ..daemon.use import current_model, ensure_command, may_ask, switched_to, use, usual_model
from ..policy.load import load_policy
from ..policy.schema import Policy
from ..policy.warn import lacking, variables
from ..record.folder import default_folder
from ..route.choose import to
from ..route.initial import Choice, initial
from . import UserError
from .chain import DEFAULT_POLICY, NOWHERE, Options, add_record_arguments
from .choice import DAILY, cannot, first_key, known, leaves_open, line


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
    policy = str(Path(named or DEFAULT_POLICY).expanduser().absolute())
    record = str(default_folder()) if kept is None else kept.record_dir
    if args.no_record:
        record = ""
    elif args.record:
        record = args.record
    made = Settings(
        policy=policy,
        port=args.port if args.port is not None else (kept or Settings("")).port,
        record_dir=str(Path(record).expanduser().absolute()) if record else "",
        model=kept.model if kept and kept.policy == policy else "",
    )
    if not 0 < made.port < 65536:
        raise UserError(f"--port must be between 1 and 65535, is {made.port}")
    load_policy(Path(made.policy))
    return made


def kept_settings(files: Files) -> Settings:
    """As the daemon was started last, or would be the first time."""
    nothing = argparse.Namespace(policy=None, port=None, record=None, no_record=False)
    return files.settings() or settings(nothing, files)


def current_settings(files: Files) -> Settings:
    """Those of the daemon that runs, else as it was started last."""
    who = files.who()
    if not who:
        return kept_settings(files)
    return Settings(who["policy"], who["port"], who["record_dir"], str(who.get("model") or ""))


def chosen(settings: Settings, files: Files) -> tuple[Settings, Choice | None]:
    """The settings with the model that answers where nobody chose one, and that choice.

    None where the user has, by a policy or by switching. What was chosen before stays: a daemon
    that starts without the key is still the one that was enabled.
    """
    policy = load_policy(Path(settings.policy))
    if not leaves_open(settings.policy, policy):
        return replace(settings, model=""), None
    if switched_to(files, policy):
        return settings, None
    route = to(policy, settings.model, "", "", "responses") if settings.model else None
    if route:
        return settings, Choice(settings.model, route.provider, "it was chosen before")
    choice = initial(policy, env.with_file(files.environment, os.environ))
    return replace(settings, model="" if choice.demo else choice.model), choice


def words(settings: Settings) -> list[str]:
    """The command line of its mitmdump."""
    policy, model = Path(settings.policy), settings.model or None
    chain = Options(policy, NOWHERE, None, model, settings.record_dir, chosen=True)
    return chain.arguments(settings.port)


def running_settings(files: Files, wanted: Settings | None = None) -> Settings:
    """The settings of a daemon that was started if need be, with a line about the wait. One that
    knows no model but the demo is started anew, when there is another by now."""
    who = files.who()
    wanted = wanted or chosen(current_settings(files), files)[0]
    if who and wanted.model and not who.get("model"):
        say(f"the daemon knew the demo only: ending it, to start it with {wanted.model}")
        control.stop(files)
        who = {}
    if not who:
        control.start(wanted, files, say)
    return current_settings(files)


def say(line: str) -> None:
    """Progress, for whoever waits at the terminal."""
    print(f"interpose: {line} …", file=sys.stderr, flush=True)


def ready(
    model: str | None, file: Path, *, another: str, demo: bool
) -> tuple[Settings, Setting, list[str]]:
    """A daemon that runs, what Codex's config in ``file`` is to say of it, and what there is to say
    of its model, a line each; ``another``: how one chooses another.

    UserError, and nothing started, where nobody has chosen a model, only the demo is left, and it
    is not wanted.
    """
    files = Files()
    wanted, choice = chosen(current_settings(files), files)
    policy = load_policy(Path(wanted.policy))
    (setting if demo else for_codex)(wanted, model, file)
    settings = running_settings(files, wanted)
    made = setting(settings, model, file)
    return settings, made, notes(None if model else choice, made.model, policy, another)


def notes(choice: Choice | None, model: str, policy: Policy, another: str) -> list[str]:
    """What there is to say of the model that Codex asks the daemon for: which ``choice`` it comes
    from, if from one, and what it lacks."""
    chose = choice and choice.model == model
    said = [line(choice, policy, another)] if choice and chose else []
    return [*said, *lacks(model, policy, Files())]


def for_codex(settings: Settings, model: str | None, file: Path) -> Setting:
    """What `enable` writes into the user's own config; UserError as of `ready`."""
    made = setting(settings, model, file)
    if not model and _only_default(made.model, settings.policy, Files()):
        first = first_key(load_policy(Path(settings.policy)))
        raise UserError(
            "no provider's key is set, and no Ollama or LM Studio answers, so every plain `codex`"
            f" would get the offline demo, a script; set a key, such as {first}, and enable again,"
            " or choose: --model NAME (list: interpose model list; --model demo for the demo)"
        )
    return made


@dataclass(frozen=True)
class Enabled:
    """Codex sent through the daemon: how that runs, the config that says so, the model it asks for,
    whether that file is new; ``notes``: what there is to say of the model, a line each."""

    settings: Settings
    file: Path
    model: str
    changed: bool
    notes: list[str]


def enable(model: str | None, keep: bool = False) -> Enabled:
    """Send the user's own Codex through the daemon, started if need be. UserError as of `ready`.

    ``keep`` what the model's provider needs of our environment, for a daemon that starts without.
    """
    settings, _, told = ready(model, config_file(), another=DAILY, demo=False)
    file, name, changed = write_block(settings, model)
    where, values = Files().environment, _key_variables(name, settings)
    if keep and (names := env.keep(where, values)):
        told.append(f"Kept for a daemon that starts without it: {' and '.join(names)}, in {where}")
    elif not keep and (names := sorted(values.keys() - env.with_file(where, {}).keys())):
        told.append(
            f"The key is not written to disk: Codex needs {' and '.join(names)} in its environment"
            " when it starts the daemon, or run: interpose enable --keep-key"
        )
    return Enabled(settings, file, name, changed, told)


def lacks(model: str, policy: Policy, files: Files) -> list[str]:
    """A line that says what keeps ``model`` from answering; none when nothing is known."""
    where = f"here, nor in {files.environment}"
    if files.who():
        where = "where the daemon runs; export it and run `interpose restart`"
    said = cannot(policy, model, unset(policy, files), where)
    return [said] if said else []


def unset(policy: Policy, files: Files) -> dict[str, list[str]]:
    """The variables that are not set where the daemon runs, or would be started, by provider."""
    who = files.who()
    told = page(who["port"], key=files.kept_key()).get("policy") if who else None
    found = told.get("unset") if isinstance(told, dict) else None
    if isinstance(found, dict):
        return found
    return lacking(policy, env.with_file(files.environment, os.environ))


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
        usable = stands and may_ask(stands, policy)
        if stands is None or not usable or _only_default(stands, settings.policy, files):
            model = usual_model(files, policy, settings.model)
        else:
            model = stands
    return Setting(model, settings.base_url, ensure_command(files))


def _key_variables(model: str, settings: Settings) -> dict[str, str]:
    """The variables of the model's provider that are set here."""
    policy = load_policy(Path(settings.policy))
    route = to(policy, model, "", "", "responses")
    provider = policy.providers.get(route.provider) if route else None
    names = variables(provider) if provider else []
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def _only_default(model: str, policy_file: str, files: Files) -> bool:
    """Whether ``model`` is there for want of another: nobody has chosen it."""
    policy = load_policy(Path(policy_file))
    usual = model == policy.default and leaves_open(policy_file, policy)
    return usual and switched_to(files, policy) != model
