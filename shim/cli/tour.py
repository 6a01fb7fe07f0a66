"""`interpose tour`, which is `make run`: one real Codex session fixes a bug through the chain."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from ..codex.find import codex
from ..codex.home import write_home
from ..engines.bugs import BUGS, Bug, NoRepository, make_repo
from ..policy.load import load_policy
from ..policy.schema import Policy
from ..record.folder import default_folder
from ..route.initial import Choice
from ..system import shell
from . import UserError
from .chain import DEFAULT_POLICY, MAIN, NOWHERE, Chain, Options
from .choice import DEMO, leaves_open
from .run import client_environment, temporary_home
from .screen import Screen
from .tour_view import View, closing_table
from .upstream import choose
from .watch import sandbox_mode, version_of, watch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", type=float, default=900, help="seconds until the session is ended (900)"
    )
    parser.add_argument("--record", metavar="DIR", default=default_folder(), help="for flow files")
    parser.add_argument("--bug", choices=BUGS, help="which of the prepared bugs to fix")
    parser.epilog = (
        "UPSTREAM=demo|ollama|lmstudio|openrouter|… or PROVIDER:MODEL chooses the model;"
        " INTERPOSE_POLICY another policy file; CODEX_BIN another codex."
        f" {DEMO}"
    )


def run(args: argparse.Namespace) -> int:
    console = Screen()
    policy_file = Path(os.environ.get("INTERPOSE_POLICY") or DEFAULT_POLICY).expanduser().absolute()
    policy = load_policy(policy_file)
    choice = choose(policy, os.environ)
    console.print(f"[bold]Model:[/] {escape(f'{choice.model} ({choice.why})')}")
    client = codex(lambda line: console.print(line, style="dim", markup=False))
    opts = Options(policy_file, NOWHERE, None, choice.model, str(Path(args.record).absolute()))
    with tempfile.TemporaryDirectory(prefix="interpose-tour-") as folder:
        repo = Path(folder) / "repo"
        try:
            bug = make_repo(repo, args.bug or _runnable())
        except NoRepository as e:
            raise UserError(str(e)) from None
        console.print(
            f"[bold]Task:[/] `{escape(bug.test_command)}` fails in a throw-away repository"
        )
        if passes(bug, repo):
            raise UserError("the test of the throw-away repository does not fail; nothing to show")
        with temporary_home() as home, Chain(opts) as chain:
            env = client_environment(home)
            console.print(f"[bold]Chain:[/] mitmdump -s addons/main.py at {chain.url}")
            write_home(home, chain.url, policy, choice.model)
            version = version_of(client, env)
            console.print(f"[bold]Client:[/] {escape(f'{version} at {client}')}\n", soft_wrap=True)
            sandbox = sandbox_mode(
                client, env, choice.provider == "demo", "UPSTREAM=demo runs only known commands"
            )
            command = [str(client), "exec", "--json", "--sandbox", sandbox, "-C", str(repo)]
            view = View(console, repo)
            code = watch([*command, bug.prompt], env, view, args.timeout)
            health = chain.health("?exchanges=1")
        fixed = _verdict(console, view, code, bug, repo, health)
    _go_on(console, health.get("flow_file"), _more(policy_file, policy, choice))
    return 0 if fixed else 1


def _runnable() -> str:
    """The kind of bug whose test can run here: Python's own is the nicer one to watch."""
    try:
        done = subprocess.run(["python3", "-c", ""], capture_output=True, check=False)
    except OSError:
        return "shell"
    return "shell" if done.returncode else BUGS[0]


def passes(bug: Bug, repo: Path) -> bool:
    """Whether the repository's test passes now."""
    done = subprocess.run(
        shell(bug.test_command),
        cwd=repo, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode == 0


def _verdict(
    console: Console, view: View, code: int, bug: Bug, repo: Path, health: Mapping[str, Any]
) -> bool:
    """Print what has come of the session; whether the bug is fixed."""
    changed = _git(repo, "diff", "--name-only").split()
    flow_file = health.get("flow_file")
    if changed:
        console.print()
        view.diff(_git(repo, "diff"))
    console.print()
    console.print(closing_table(health.get("exchanges") or [], flow_file))
    why = _why_not(view, code, bug, repo, changed)
    if why:
        console.print(f"\n[bold red]Not fixed:[/] {escape(why)}", soft_wrap=True)
    else:
        console.print("\n[bold green]Fixed:[/] the test passes, by Codex's own apply_patch")
    return not why


def _why_not(view: View, code: int, bug: Bug, repo: Path, changed: list[str]) -> str:
    """Why the session does not count as a success; empty when it does."""
    if code:
        return view.failure or f"codex ended with exit code {code}"
    patched = {Path(path).name for path in view.patched}
    if not patched & {Path(path).name for path in changed}:
        return "Codex changed nothing with apply_patch"
    for path in changed:
        if path.startswith("test"):
            return f"{path} was changed, not the code"
    return "" if passes(bug, repo) else f"`{bug.test_command}` still fails"


def _go_on(console: Console, flow_file: str | None, more: str) -> None:
    """What to do next; ``more`` are the options with which the same model answers again."""
    console.print("\n[bold]Go on by hand[/]")
    interpose = _tool("interpose")
    lines = [
        (f"{interpose} run{more}", "your own session through the chain; only a recording stays"),
        (f"{interpose} serve --web{more}", "the chain in mitmweb; prints what to paste into Codex"),
    ]
    if flow_file:
        shown, views = _near(Path(flow_file)), _near(MAIN.with_name("views.py"))
        lines.append((f"{interpose} replay {shown}", "the same turns again, offline, and compared"))
        lines.append((f"{_tool('mitmweb')} -n -r {shown} -s {views}", "look at the recorded turns"))
    for line, what in lines:
        console.print(f"  {escape(line)}   [dim]# {what}[/]", soft_wrap=True)


def _more(policy_file: Path, policy: Policy, choice: Choice) -> str:
    """What `interpose run` must be told to take this policy and this model."""
    named = not leaves_open(policy_file, policy)
    words = ["--policy", str(policy_file)] if named else []
    if named or choice.why.startswith("UPSTREAM="):
        words += ["--model", choice.model]
    return "".join(f" {shlex.quote(word)}" for word in words)


def _tool(name: str) -> str:
    """How a program that was installed beside us is called from here."""
    beside = Path(sys.executable).parent / name
    on_path = shutil.which(name)
    if not beside.exists() or (on_path and Path(on_path).absolute() == beside.absolute()):
        return name
    return _near(beside)


def _near(path: Path) -> str:
    """The path as it is best shown here, quoted for a shell."""
    inside = path.absolute().is_relative_to(Path.cwd())
    return shlex.quote(str(path.absolute().relative_to(Path.cwd()) if inside else path))


def _git(repo: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(repo), *words], capture_output=True, text=True, check=False
    )
    return done.stdout
