"""`interpose run -- ARGS…`: one Codex session through a chain of its own; nothing stays behind."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from ..codex.find import cache_folder, codex
from ..codex.home import write_home
from ..codex.where import without_proxy
from ..system import end_group, grouped
from . import UserError, intercept
from .chain import Chain, add_chain_arguments, options
from .choice import DEMO, for_chain

PASSES_ON = True

#: What a group of its own hears as Ctrl-C.
_BREAK = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT)
#: Seconds Codex has to end after a SIGTERM.
GRACE = 10.0
#: Seconds that what Codex left behind has to end.
STRAGGLER_GRACE = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "interpose run [options] -- ARGS…"
    parser.epilog = f"Example: interpose run -- exec 'What does this repository do?' {DEMO}"
    add_chain_arguments(parser)
    parser.add_argument(
        "--intercept",
        action="store_true",
        help="run your own Codex as it is, by a forward proxy; ARGS may begin with `codex`",
    )


def run(args: argparse.Namespace) -> int:
    if args.intercept and args.reverse:
        raise UserError("--intercept goes where Codex goes: leave --reverse out")
    opts = replace(options(args), intercept=args.intercept)
    policy = opts.load()
    opts, note = for_chain(opts, policy)
    if note:
        print(f"interpose: {note}", file=sys.stderr, flush=True)
    client = codex(lambda line: print(f"interpose: {line}", file=sys.stderr))
    if args.intercept:
        with Chain(opts) as chain:
            trusted = intercept.trust(chain)
            env = intercept.client_environment(chain.proxy, trusted)
            code = session([str(client), *intercept.arguments(args.rest)], env)
            recorded = _recorded(chain)
    else:
        with Chain(opts) as chain, temporary_home() as home:
            write_home(home, chain.url, policy, opts.model)
            code = session([str(client), *args.rest], client_environment(home))
            recorded = _recorded(chain)
    if recorded and Path(recorded).exists():
        print(f"interpose: recorded in {recorded}", file=sys.stderr)
    return code


def _recorded(chain: Chain) -> str | None:
    """The flow file, once everything is in it."""
    if not chain.options.record_dir:
        return None
    return chain.health("?exchanges=1").get("flow_file")


@contextmanager
def temporary_home() -> Iterator[Path]:
    """A folder for one session. Not under /tmp if possible: there Codex warns at every start."""
    try:
        parent: Path | None = cache_folder() / "homes"
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # type: ignore[union-attr]
    except OSError:
        parent = None
    with tempfile.TemporaryDirectory(
        prefix="session-", dir=parent, ignore_cleanup_errors=True
    ) as folder:
        try:
            yield Path(folder)
        finally:
            end_stragglers(Path(folder))


def end_stragglers(home: Path) -> None:
    """End what still runs out of ``home``: Codex's TUI leaves a daemon behind that outlives it."""
    left = _running(home)
    for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        for pid in left:
            try:
                os.kill(pid, number)
            except OSError:
                pass
        deadline = time.monotonic() + STRAGGLER_GRACE
        while left and time.monotonic() < deadline:
            time.sleep(0.05)
            left = _running(home)
        if not left:
            return


def _running(home: Path) -> list[int]:
    """The processes whose command line names ``home``."""
    try:
        listed = subprocess.run(
            ["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return []
    lines = (line.strip().partition(" ") for line in listed.splitlines())
    return [int(pid) for pid, _, command in lines if str(home) in command and pid.isdigit()]


def client_environment(home: Path) -> dict[str, str]:
    """The environment in which Codex uses that home and reaches the chain directly."""
    return {"INTERPOSE_KEY": "any", **without_proxy(os.environ), "CODEX_HOME": str(home)}


def session(command: list[str], env: dict[str, str]) -> int:
    """Run Codex with our terminal until it ends; its exit code, 128 + N for signal N.

    On a terminal Codex gets Ctrl-C itself and decides; otherwise it is in a process group of its
    own and signals are passed on. After SIGTERM it has GRACE seconds.
    """
    terminal = os.isatty(0)
    group = {} if terminal else grouped(sys.platform)
    process = subprocess.Popen(command, env=env, **group)
    asked: list[float] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        if number != signal.SIGINT:
            asked.append(time.monotonic())
        if number != signal.SIGINT or not terminal:
            process.send_signal(_BREAK if number == signal.SIGINT else number)

    # Windows has no SIGHUP.
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    kinds = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, pass_on) for number in kinds}
    try:
        while True:
            try:
                code = process.wait(0.5)
                break
            except subprocess.TimeoutExpired:
                if asked and time.monotonic() - asked[0] > GRACE:
                    _kill(process, terminal)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if process.poll() is None:
            _kill(process, terminal)
            process.wait()
    return code if code >= 0 else 128 - code


def _kill(process: subprocess.Popen[bytes], terminal: bool) -> None:
    if terminal:
        process.kill()
    else:
        end_group(process.pid)
