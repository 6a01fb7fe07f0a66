"""Starting the chain: the mitmdump command line, and a chain in the background for one session."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from ..policy.load import load_policy
from ..policy.schema import Policy
from ..record.folder import default_folder
from ..system import detached, end_group
from . import UserError

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "addons" / "main.py"
DEFAULT_POLICY = ROOT / "policies" / "default.yaml"

#: The mode needs a target even when the policy sends everything elsewhere; nothing listens there.
NOWHERE = "http://127.0.0.1:9"

#: Seconds until a chain that does not answer counts as broken.
PATIENCE = 30.0

# The chain runs in a session of its own, so that Ctrl-C reaches it only through us; it watches its
# stdin instead, which closes when we end, however we end. Then a CA of its own goes, too.
_BOOT = """
import importlib, os, shutil, signal, sys, threading
def watch():
    while os.read(0, 1):
        pass
    signal.raise_signal(signal.SIGTERM)
threading.Thread(target=watch, daemon=True).start()
own = os.environ.pop("INTERPOSE_OWN_CA", "")
try:
    importlib.import_module("mitmproxy.tools.main").mitmdump()
finally:
    if own:
        shutil.rmtree(own, ignore_errors=True)
"""


@dataclass(frozen=True)
class Options:
    """What the user said about the chain. An empty ``record_dir`` means no recording.

    mitmproxy takes no path in ``reverse``; the client's own path is kept instead, so ``prefix`` is
    what the client's base URL ends in. ``intercept``: there is a forward proxy, too. ``chosen``:
    nobody has named the model, so it answers only as long as the policy's default is the demo.
    """

    policy: Path | None
    reverse: str
    upstream: str | None
    model: str | None
    record_dir: str
    prefix: str = "/v1"
    intercept: bool = False
    chosen: bool = False

    def base_url(self, port: int) -> str:
        """What a client of the chain on that port takes as its base URL."""
        return f"http://127.0.0.1:{port}{self.prefix}"

    def load(self) -> Policy:
        """The policy these options mean; PolicyError when its file is bad."""
        return load_policy(self.policy) if self.policy else Policy()

    def arguments(self, port: int, proxy: int = 0) -> list[str]:
        """What follows ``mitmdump`` (or ``mitmweb``) on its command line."""
        words = ["-s", str(MAIN), "--mode", f"reverse:{self.reverse}"]
        if self.intercept:
            words += ["--mode", f"regular@127.0.0.1:{proxy}"]
        words += ["--listen-host", "127.0.0.1", "--listen-port", str(port)]
        settings = {"record_dir": self.record_dir}
        if self.policy:
            settings["policy"] = str(self.policy)
        if self.upstream:
            settings["upstream"] = self.upstream
        # Without a policy names pass as they are: the client asks for it itself.
        if self.model and self.policy:
            settings["initial_model" if self.chosen else "default_model"] = self.model
        for name, value in settings.items():
            words += ["--set", f"{name}={value}"]
        return words


def add_chain_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every command which starts a chain for one model has."""
    add_policy_argument(parser)
    parser.add_argument(
        "--reverse",
        metavar="URL",
        help="the built-in provider `reverse`; without a policy, everything goes there",
    )
    parser.add_argument(
        "--upstream",
        choices=["responses", "chat", "messages"],
        help="what the target of --reverse speaks (default: responses)",
    )
    parser.add_argument(
        "--model", metavar="NAME", help="the model to use, or PROVIDER:upstream-model"
    )
    add_record_arguments(parser)


def add_policy_argument(parser: argparse.ArgumentParser) -> None:
    """Which policy the chain has."""
    parser.add_argument(
        "--policy",
        metavar="FILE",
        help="policy YAML (else $INTERPOSE_POLICY, else policies/default.yaml)",
    )
    parser.set_defaults(reverse=None, upstream=None, model=None)


def add_record_arguments(parser: argparse.ArgumentParser) -> None:
    """Whether, and where, the chain records."""
    record = parser.add_mutually_exclusive_group()
    record.add_argument(
        "--record", metavar="DIR", help="where flow files go (else flows/local of the checkout)"
    )
    record.add_argument("--no-record", action="store_true", help="record nothing")


def options(args: argparse.Namespace) -> Options:
    """The options of a parsed command line, paths made absolute; UserError for a bad address."""
    named = args.policy or os.environ.get("INTERPOSE_POLICY")
    if not named and not args.reverse:
        named = DEFAULT_POLICY
    url = urlsplit(args.reverse or NOWHERE)
    if url.scheme not in ("http", "https") or not url.hostname or url.query:
        raise UserError(f"--reverse must be an http:// or https:// address, is {args.reverse}")
    return Options(
        policy=Path(named).expanduser().absolute() if named else None,
        reverse=f"{url.scheme}://{url.netloc}",
        upstream=args.upstream,
        model=args.model,
        record_dir="" if args.no_record else str(Path(args.record or default_folder()).absolute()),
        prefix=url.path.rstrip("/") or "/v1",
    )


def client_key(policy: Policy) -> str:
    """What a client of a chain that has our environment sends as its key, quoted for a shell."""
    if os.environ.get("INTERPOSE_CLIENT_KEYS"):
        return "'<one of INTERPOSE_CLIENT_KEYS>'"
    if file := os.environ.get("INTERPOSE_CLIENT_KEYS_FILE"):
        return shlex.quote(f"<one of the keys in {file}>")
    return "'<the key of the target>'" if policy.empty else "any"


def environment() -> dict[str, str]:
    """The chain's environment: ours, without a policy that the command line has already settled."""
    return {name: value for name, value in os.environ.items() if name != "INTERPOSE_POLICY"}


class Chain:
    """A chain in the background on a free loopback port; a context manager.

    ``url`` is the base URL for a client, ``proxy`` the port of the forward proxy if there is one.
    The output goes into ``folder``, which is removed at the end.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.port = self.proxy = 0
        self._temporary = tempfile.TemporaryDirectory(prefix="interpose-chain-")
        self.folder = Path(self._temporary.name)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.options.base_url(self.port)

    @property
    def confdir(self) -> Path:
        """Where mitmproxy's CA is that is only this chain's."""
        return self.folder / "mitmproxy"

    def __enter__(self) -> Self:
        try:
            for last in (False, False, True):
                self.port = free_port()
                if self.options.intercept:
                    self.proxy = free_port()
                self._start()
                if self._ready():
                    return self
                why = self._last_words()
                # Somebody else may have taken the port between our look and the start.
                if last or "address already in use" not in why.lower():
                    raise UserError(f"the chain did not start: {why}")
        except BaseException:
            self.__exit__()
            raise
        raise AssertionError("unreachable")

    def __exit__(self, *exc: object) -> None:
        process, self._process = self._process, None
        if process is not None:
            _stop(process)
        self._temporary.cleanup()

    def health(self, query: str = "") -> dict[str, Any]:
        """What ``GET /health`` says; UserError when the chain does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", f"/health{query}")
            answer = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as e:
            raise UserError(f"the chain does not answer: {e}") from None
        finally:
            connection.close()
        return answer if isinstance(answer, dict) else {}

    def _start(self) -> None:
        arguments = self.options.arguments(self.port, self.proxy)
        words = [sys.executable, "-c", _BOOT, *arguments]
        env = environment()
        for name in ("INTERPOSE_CLIENT_KEYS", "INTERPOSE_CLIENT_KEYS_FILE"):
            # The one client knows no key of others.
            env.pop(name, None)
        if self.options.intercept or not (Path.home() / ".mitmproxy").is_dir():
            words += ["--set", f"confdir={self.confdir}"]
            env["INTERPOSE_OWN_CA"] = str(self.confdir)
        with (self.folder / "output.txt").open("wb") as output:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                **detached(sys.platform),
            )

    def _ready(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if self.health().get("status"):
                    return self._process.poll() is None
            except UserError:
                time.sleep(0.03)
        return False

    def _last_words(self) -> str:
        text = (self.folder / "output.txt").read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else f"no answer within {PATIENCE:.0f} s, and no output"


def free_port() -> int:
    """A loopback port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the chain and all it started, politely first."""
    if sys.platform == "win32" and process.stdin:
        # It has no signal that asks; the end of its stdin does.
        process.stdin.close()
    else:
        process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        end_group(process.pid)
        process.wait()
    finally:
        if process.stdin:
            process.stdin.close()
