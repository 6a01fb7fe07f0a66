"""`interpose serve`: the chain in the foreground; this process becomes mitmdump or mitmweb."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
import subprocess
import sys

from ..codex.catalog import UNNAMED
from ..codex.home import paste_lines
from ..codex.login import offered
from ..daemon.files import Files, page
from ..system import listener
from . import UserError
from .chain import add_chain_arguments, client_key, environment, options
from .choice import DEMO, for_chain

PASSES_ON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_chain_arguments(parser)
    parser.add_argument("--port", type=int, default=8080, help="loopback port (default: 8080)")
    parser.add_argument("--web", action="store_true", help="mitmweb instead of mitmdump")
    parser.epilog = f"What stands after `--` goes to mitmdump (or mitmweb) as it is. {DEMO}"


def run(args: argparse.Namespace) -> int:
    opts = options(args)
    policy = opts.load()
    opts, note = for_chain(opts, policy)
    model = opts.model or policy.default or next(iter(offered(policy)), UNNAMED)
    _must_be_free(args.port)
    tool = "mitmweb" if args.web else "mitmdump"
    print(f"# {tool} on http://127.0.0.1:{args.port}, policy: {opts.policy or 'none'}")
    if note:
        print(f"# {note}")
    print("# For ~/.codex/config.toml, or `interpose home` for a home of its own:\n")
    print(paste_lines(opts.base_url(args.port), model, not policy.empty))
    print("# In the shell that runs codex:\n")
    print(f"export INTERPOSE_KEY={client_key(policy)}\n", flush=True)
    boot = f'import importlib; importlib.import_module("mitmproxy.tools.main").{tool}()'
    # Unbuffered, so that a log file or a pipe shows each line when it happens.
    words = [sys.executable, "-u", "-c", boot, *opts.arguments(args.port), *args.rest]
    if sys.platform == "win32":
        # There a process that becomes another ends for the shell, which goes on beside it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return subprocess.call(words, env=environment())
    os.execve(sys.executable, words, environment())


def _must_be_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OverflowError:
            raise UserError(f"--port must be between 0 and 65535, is {port}") from None
        except OSError as e:
            raise UserError(_in_use(port, e)) from None


def _in_use(port: int, error: OSError) -> str:
    """Who has the port, as far as that can be told, and the way on."""
    if error.errno != errno.EADDRINUSE:
        said = f"port {port} of 127.0.0.1 cannot be used: {error.strerror}"
    elif (who := Files().who()).get("port") == port:
        said = f"port {port} of 127.0.0.1 is in use by Interpose's daemon, process {who['pid']}"
    else:
        said = f"port {port} of 127.0.0.1 is in use by {listener(port) or 'another program'}"
        said += " (a chain of Interpose)" if page(port, 1.0) else ""
    return f"{said}; take another: --port {port % 65535 + 1}"
