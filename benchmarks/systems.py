"""The systems under test, each a process: direct, bare mitmdump, the chain, and its peers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from benchmarks import usage
from benchmarks.bodies import asked_of, body, chat_of, messages_of
from benchmarks.load import CHAT, MESSAGES, RESPONSES, BadAnswer, one

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / ".peers"
LITELLM, OPENCODEX = "1.106.2", "2.63.0"
KEY = "sk-benchmark-0000"
#: Where each protocol is asked.
PATHS = {
    "responses": "/v1/responses",
    "chat": "/v1/chat/completions",
    "messages": "/v1/messages",
}
#: Seconds without work after which a system has stopped: the chain writes a moment after a turn.
_QUIET = 0.4
#: Seconds between two looks, and CPU seconds in between that are no work: an idle loop's timers.
_LOOK, _IDLE = 0.05, 0.001


class Unavailable(Exception):
    """A system that cannot be run here, and why."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class System:
    """A process on a loopback port; a context manager. ``model`` is the name to ask it for."""

    name = ""
    model = "m"
    key = KEY
    patience = 60.0
    #: Where it is asked, and what its answer must hold to count as one.
    path = PATHS["responses"]
    marks: tuple[bytes, ...] = RESPONSES
    #: Below which path the upstream is asked: more slowly, or in other protocols.
    pace = ""
    #: The checkout whose chain and whose environment this is.
    root = ROOT
    #: A body as this system is asked it, made of the Responses request and the model's name.
    asked: Callable[[bytes, str], bytes] = staticmethod(asked_of)

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"interpose-bench-{self.name}-"))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        """The canned upstream's, as a client of Chat Completions takes it."""
        return f"http://127.0.0.1:{self.upstream}{self.pace}/v1"

    def command(self) -> list[str]:
        """The command line; files it needs are made in ``folder``."""
        raise NotImplementedError

    def env(self) -> Mapping[str, str]:
        return {}

    def start(self) -> None:
        """Start the process; returns at once."""
        drop = {"http_proxy", "https_proxy", "all_proxy", "interpose_policy", "pythonpath"}
        kept = {k: v for k, v in os.environ.items() if k.lower() not in drop}
        with (self.folder / "output.txt").open("ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env={**kept, **self.env()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Until the port is open; Unavailable when that does not happen."""
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            if self.process and self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.005)
        raise Unavailable(f"{self.name} does not listen: {self.log()[-800:]}")

    def log(self) -> str:
        return (self.folder / "output.txt").read_text(errors="replace")

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(10)
        self.process = None

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self) -> list[int]:
        """The process and its children, the process first; none before it is started."""
        return usage.tree(self.process.pid) if self.process else []

    def cpu(self, *, own: bool = False) -> float:
        """CPU seconds used so far by the process and its children; ``own``: by it alone."""
        return sum(map(usage.cpu, self.processes()[: 1 if own else None]))

    def peak(self) -> float:
        """Peak memory in MB, summed over the process and its children."""
        return sum(map(usage.peak, self.processes()))


async def ready(system: System, seconds: float = 60) -> None:
    """Until the system answers a turn; Unavailable with its words when it does not."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            request = system.asked(body(1_000, 0), system.model)
            await one(system.port, request, system.key, system.path, system.marks)
            return
        except (BadAnswer, OSError, asyncio.IncompleteReadError) as e:
            if time.monotonic() > deadline:
                raise Unavailable(f"no answer: {str(e)[:300]}") from None
            await asyncio.sleep(0.01)


def settle(system: System, seconds: float = 10, quiet: float = _QUIET) -> float:
    """CPU seconds of ``system`` once it has stopped working: nobody else pays for its rest."""
    begun = worked = time.monotonic()
    before = system.cpu()
    while time.monotonic() - worked < quiet and time.monotonic() - begun < seconds:
        time.sleep(_LOOK)
        now = system.cpu()
        # A recorder that waits for a free processor uses none, and is not done either.
        if now - before > _IDLE or any(map(usage.runnable, system.processes())):
            worked = time.monotonic()
        before = now
    return before


class Direct(System):
    """The canned upstream itself; it answers Chat Completions and nothing else."""

    name = "direct"
    path = PATHS["chat"]
    marks = ()

    def command(self) -> list[str]:
        return [sys.executable, "-m", "benchmarks.upstream", str(self.port)]

    def env(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(ROOT)}


def _mitmdump(system: System, script: Path, mode: str, *options: str) -> list[str]:
    tools = Path(sys.executable).parent if system.root == ROOT else system.root / ".venv" / "bin"
    words = [str(tools / "mitmdump"), "-q", "-s", str(script)]
    words += ["--mode", f"reverse:{mode}", "--listen-host", "127.0.0.1"]
    words += ["--listen-port", str(system.port)]
    for option in (f"confdir={system.folder}/conf", "flow_detail=0", *options):
        words += ["--set", option]
    return words


class Bare(System):
    """mitmdump that passes bytes through as they come: the floor."""

    name = "mitmdump"
    path = Direct.path
    marks = ()

    def command(self) -> list[str]:
        script = self.folder / "stream.py"
        script.write_text("def responseheaders(flow):\n    flow.response.stream = True\n")
        return _mitmdump(self, script, f"http://127.0.0.1:{self.upstream}")


class Chain(System):
    """The chain with route, translate and record on."""

    name = "interpose"
    protocol = "chat"
    flows = "flows"

    def command(self) -> list[str]:
        policy = self.folder / "policy.yaml"
        entry = f"base_url: '{self.base_url}', key: {KEY}, protocol: {self.protocol}"
        policy.write_text(
            f"providers: {{ up: {{ {entry} }} }}\nmodels: {{ m: {{ provider: up }} }}\n"
        )
        return _mitmdump(
            self,
            self.root / "addons" / "main.py",
            "http://127.0.0.1:9",
            f"policy={policy}",
            f"record_dir={self.folder / self.flows if self.flows else ''}",
            # What it remembers stands there whether or not it records.
            f"state={self.folder}/responses.db",
        )


class Unrecorded(Chain):
    """The same without recording: what that costs is the difference."""

    name = "interpose-unrecorded"
    flows = ""


class ToMessages(Chain):
    """The chain from Responses to a Messages upstream."""

    name = "interpose-to-messages"
    protocol = "messages"


class FromMessages(Chain):
    """The chain from a Messages client to Chat Completions."""

    name = "interpose-from-messages"
    path = PATHS["messages"]
    marks = MESSAGES
    asked = staticmethod(messages_of)


class Passing(Chain):
    """The chain from Responses to an upstream of the same protocol."""

    name = "interpose-passing"
    protocol = "responses"
    pace = "/passing"


class ChatToMessages(ToMessages):
    """The chain from a client of Chat Completions to a Messages upstream."""

    name = "interpose-chat-to-messages"
    path = Direct.path
    marks = CHAT
    asked = staticmethod(chat_of)


def _npm(package: str, version: str, folder: Path) -> None:
    if not shutil.which("npm"):
        raise Unavailable(f"{package} needs npm")
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder)]
    done = subprocess.run([*command, f"{package}@{version}"], capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"npm could not install {package}: {done.stderr.strip()[-300:]}")


class LiteLLM(System):
    """The LiteLLM proxy, with its Responses bridge to a Chat Completions provider."""

    name = "litellm"
    patience = 120.0

    def command(self) -> list[str]:
        venv = PEERS / "litellm"
        if not (venv / "bin" / "litellm").exists():
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
            pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "-q"]
            done = subprocess.run(
                [*pip, f"litellm[proxy]=={LITELLM}"], capture_output=True, text=True
            )
            if done.returncode:
                raise Unavailable(f"pip could not install litellm: {done.stderr.strip()[-300:]}")
        config = self.folder / "config.yaml"
        settings = {"model_list": [{"model_name": "m", "litellm_params": self.params()}]}
        config.write_text(json.dumps(settings))
        words = [str(venv / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
        return [*words, "--port", str(self.port), "--num_workers", "1", "--telemetry", "False"]

    def params(self) -> dict[str, Any]:
        """Where the model is, in LiteLLM's words."""
        return {
            "model": "hosted_vllm/m",
            "use_chat_completions_api": True,
            "api_base": self.base_url,
            "api_key": KEY,
        }

    def env(self) -> Mapping[str, str]:
        return {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MASTER_KEY": KEY,
            "HOME": str(self.folder),
        }


class OpenCodex(System):
    """opencodex, its Responses endpoint over its adapter for Chat Completions."""

    name = "opencodex"
    model = "up/m"
    adapter = "openai-chat"

    def command(self) -> list[str]:
        folder = PEERS / "opencodex"
        tool = folder / "node_modules" / ".bin" / "ocx"
        if not tool.exists():
            _npm("@bitkyc08/opencodex", OPENCODEX, folder)
        home = self.folder / ".opencodex"
        home.mkdir(exist_ok=True)
        provider = {
            "adapter": self.adapter,
            "baseUrl": self.base_url,
            "apiKey": KEY,
            "models": ["m"],
            "defaultModel": "m",
            "liveModels": False,
            "allowPrivateNetwork": True,
        }
        config = {"port": self.port, "providers": {"up": provider}, "defaultProvider": "up"}
        (home / "config.json").write_text(json.dumps(config))
        return [str(tool), "start", "--port", str(self.port)]

    def env(self) -> Mapping[str, str]:
        return {"HOME": str(self.folder), "OPENCODEX_HOME": str(self.folder / ".opencodex")}


_SYSTEMS: tuple[type[System], ...] = (
    Direct, Bare, Chain, Unrecorded, ToMessages, FromMessages, LiteLLM, OpenCodex,
)  # fmt: skip
ALL = {system.name: system for system in _SYSTEMS}
#: The chain from each protocol to each: what one commit is compared with another in.
DIRECTIONS: dict[str, type[Chain]] = {
    chain.name: chain for chain in (Chain, Passing, ToMessages, ChatToMessages, FromMessages)
}
PEER_NAMES = (LiteLLM.name, OpenCodex.name)
