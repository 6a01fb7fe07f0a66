"""`interpose compare`: one task over several models, each in a copy of the repository."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..codex.catalog import models_of
from ..codex.find import codex
from ..policy.schema import Policy
from ..route.choose import to
from . import UsageError
from .chain import Chain, add_policy_argument, add_record_arguments, options
from .compare_run import Runner, Task
from .compare_view import Run, notes, result, table
from .copies import commit_of, copy, look
from .run import client_environment, temporary_home
from .screen import Screen
from .watch import sandbox_mode, version_of

PASSES_ON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "interpose compare --routes NAME,NAME --check CMD [options] -- PROMPT"
    parser.add_argument(
        "--routes", metavar="NAME,NAME", required=True, help="models of the policy to compare"
    )
    parser.add_argument(
        "--check", metavar="CMD", required=True,
        help="shell command run in the copy afterwards; exit code 0: the run has passed",
    )  # fmt: skip
    add_policy_argument(parser)
    parser.add_argument("--repo", metavar="DIR", default=".", help="git repository (else this one)")
    parser.add_argument(
        "--times", metavar="N", type=_count, default=1, help="runs of each route; medians are shown"
    )
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=_seconds, default=1800,
        help="until a session, or the check after it, is ended (1800)",
    )  # fmt: skip
    parser.add_argument(
        "--no-sandbox", action="store_true", help="let the models' commands run unprotected"
    )
    parser.add_argument("--keep", action="store_true", help="keep the copies of the repository")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_record_arguments(parser)
    parser.epilog = "Example: interpose compare --routes a,b --check 'make test' -- 'Fix the bug.'"


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError("must be a number of seconds above 0")
    return number


def run(args: argparse.Namespace) -> int:
    """Exit code 0 when every route has a run that passed, 1 when one has none."""
    prompt = " ".join(args.rest).strip()
    if not prompt:
        raise UsageError("no prompt: what Codex shall do stands behind --, as -- 'Fix the bug.'")
    if not args.check.strip():
        raise UsageError("--check is empty: name a command that tells whether the task is done")
    opts = options(args)
    policy = opts.load()
    routes = named(args.routes, policy)
    source = look(Path(args.repo).expanduser().absolute())
    said = Screen(stderr=True, soft_wrap=True, markup=False)
    client = codex(said.print)
    version, sandbox = _client(client, args.no_sandbox, only_demo(policy, routes))
    with _folder(args.keep) as folder, Chain(opts) as chain:
        pristine = copy(source.root, folder / "committed")
        commit = commit_of(pristine)
        said.print(f"Every run starts from commit {commit[:10]} of {source.root}")
        if source.changes:
            files = "1 file" if source.changes == 1 else f"{source.changes} files"
            said.print(f"What is not committed there is not part of it: {files}")
        task = Task(
            prompt=prompt,
            check=args.check,
            timeout=args.timeout,
            policy=policy,
            client=client,
            sandbox=sandbox,
            repo=pristine,
            name=source.root.name or "repo",
            inside=source.inside,
        )
        runs = Runner(task, chain, folder, args.keep, said).all(routes, args.times)
        recorded = chain.health("?exchanges=1").get("flow_file") if opts.record_dir else None
    if args.json:
        about = {"repo": str(source.root), "commit": commit, "prompt": prompt, "check": args.check}
        about |= {"client": version, "times": args.times, "flow_file": recorded}
        print(json.dumps(about | {"routes": result(runs)}, indent=1, ensure_ascii=False))
    else:
        _print(runs)
    if args.keep:
        said.print(f"Copies kept in {folder}")
    if recorded and Path(recorded).exists():
        said.print(f"Recorded in {recorded}")
    return 0 if all(any(run.passed for run in tried) for tried in runs.values()) else 1


def _client(client: Path, unprotected: bool, trusted: bool) -> tuple[str, str]:
    """What Codex says of its version, and the sandbox mode that it gets."""
    with temporary_home() as home:
        env = client_environment(home)
        version = version_of(client, env)
        if unprotected:
            return version, "danger-full-access"
        return version, sandbox_mode(client, env, trusted, "and so does --no-sandbox")


def named(text: str, policy: Policy) -> list[str]:
    """The routes of ``--routes``, each once. UsageError when the policy does not know one."""
    routes = list(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))
    known = models_of(policy)
    there = f"there are {', '.join(known)}" if known else "the policy names no model"
    if not routes:
        raise UsageError(f"--routes names no route; {there}")
    for route in routes:
        if route not in known and to(policy, route, route, "", "responses") is None:
            raise UsageError(f"no route {route}; {there}")
    return routes


def only_demo(policy: Policy, routes: list[str]) -> bool:
    """Whether nobody but the demo model, which runs only known commands, can answer these."""
    models = [policy.models.get(route) for route in routes]
    return not policy.route and all(
        model.provider == "demo" and not model.fallbacks if model else route.startswith("demo:")
        for route, model in zip(routes, models, strict=True)
    )


@contextmanager
def _folder(keep: bool) -> Iterator[Path]:
    if keep:
        yield Path(tempfile.mkdtemp(prefix="interpose-compare-"))
        return
    with tempfile.TemporaryDirectory(
        prefix="interpose-compare-", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def _print(runs: Mapping[str, list[Run]]) -> None:
    screen = Screen()
    screen.print(table(runs, screen.room))
    for line in notes(runs):
        screen.print(line, markup=False, soft_wrap=True)
