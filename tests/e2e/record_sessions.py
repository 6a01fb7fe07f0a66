"""Makes the recordings in flows/: `python -m tests.e2e.record_sessions [NAME…]`.

Each is a session of the real Codex through the real chain, with a scripted upstream or the demo
model behind it. Paths, ids and ports are replaced by stable ones, the same in all four messages, so
that a recording tells nothing of the machine it was made on and still replays to the same bytes.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mitmproxy import http
from mitmproxy.io import FlowReader, FlowWriter

from addons.replay import main as replay
from shim.engines.bugs import make_repo
from tests.e2e.answers import (
    SSE,
    USAGE,
    by_outputs,
    chat_chunk,
    chat_text,
    chat_tool,
    error,
    sse,
)
from tests.e2e.chain import ROOT, Chain
from tests.e2e.clients import CodexRun, run_codex
from tests.e2e.upstreams import Answer, Script, Upstream, in_order

FLOWS = ROOT / "flows"
_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PORT = re.compile(rb"127\.0\.0\.1:\d+")
_HOME = re.compile(rb"/tmp/interpose-home-\w+")
_WORKDIR = "/workspace/project"


@dataclass(frozen=True)
class Session:
    """One recording: what the user asks, what stands in the folder, what the upstream answers."""

    prompt: str
    script: Script | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    config: dict[str, str] = field(default_factory=dict)
    check: Callable[[CodexRun], bool] = lambda run: run.exit_code == 0


def png(width: int = 8, height: int = 8) -> bytes:
    """A small red picture."""

    def part(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    rows = b"".join(b"\0" + b"\xff\0\0" * width for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def calls(*made: tuple[str, dict[str, Any]]) -> Answer:
    """One answer with several tool calls."""
    deltas = [
        {
            "index": n,
            "id": f"call_{name}_{n}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for n, (name, arguments) in enumerate(made)
    ]
    chunks = [chat_chunk({"tool_calls": [delta]}) for delta in deltas]
    usage = {**chat_chunk({}), "choices": [], "usage": USAGE}
    return Answer(200, SSE, sse([*chunks, chat_chunk({}, "tool_calls"), usage]))


def thinking(answer: Answer, thought: str) -> Answer:
    """`answer` with reasoning in front of it."""
    first = sse([chat_chunk({"reasoning_content": thought})], done=False)
    return Answer(200, SSE, [*first, *answer.chunks])


def filling(answer: Answer, tokens: int) -> Answer:
    """`answer`, said to have filled `tokens` of the context."""
    used = {"prompt_tokens": tokens, "completion_tokens": 10, "total_tokens": tokens + 10}
    usage = sse([{**chat_chunk({}), "choices": [], "usage": used}])
    return Answer(200, SSE, [*answer.chunks[:-2], *usage])


PATCH = """*** Begin Patch
*** Update File: greeting.txt
@@
-Helo world
+Hello world
*** End Patch"""
RUN = "exec_command"
MCP = {
    "mcp_servers.lab.command": json.dumps(sys.executable),
    "mcp_servers.lab.args": json.dumps([str(Path(__file__).with_name("mcp_lab.py"))]),
}

SESSIONS: dict[str, Session] = {
    "plain-answer": Session(
        "Say hello in five words.", by_outputs([chat_text("Hello, how are you today?")])
    ),
    "shell-loop": Session(
        "What is in this folder, and what do the notes say?",
        by_outputs(
            [
                thinking(chat_tool(RUN, {"cmd": "ls"}, "call_a"), "First a look around."),
                chat_tool(RUN, {"cmd": "cat notes.txt"}, "call_b"),
                chat_text("There is one file, notes.txt. It says: buy milk."),
            ]
        ),
        {"notes.txt": b"buy milk\n"},
    ),
    "apply-patch": Session(
        "Correct the spelling in greeting.txt.",
        by_outputs(
            [
                chat_tool(RUN, {"cmd": "cat greeting.txt"}, "call_a"),
                thinking(chat_tool("apply_patch", {"input": PATCH}, "call_b"), "One letter."),
                chat_text("Corrected: Hello world."),
            ]
        ),
        {"greeting.txt": b"Helo world\n"},
        check=lambda run: any(i["type"] == "file_change" for i in run.items),
    ),
    "bug-fix-by-the-demo-model": Session("The tests fail. Find the bug, fix it, run them again."),
    "parallel-calls": Session(
        "Compare the two files.",
        by_outputs(
            [
                calls((RUN, {"cmd": "cat a.txt"}), (RUN, {"cmd": "cat b.txt"})),
                chat_text("unused"),
                chat_text("They differ in one word."),
            ]
        ),
        {"a.txt": b"one two\n", "b.txt": b"one three\n"},
    ),
    "mcp-namespace-tool": Session(
        "Echo a word with the lab tool.",
        by_outputs(
            [
                chat_tool("mcp__lab__echo_it", {"text": "hello"}, "call_a"),
                chat_text("The tool said: echo: hello"),
            ]
        ),
        config=MCP,
        check=lambda run: any(i["type"] == "mcp_tool_call" for i in run.items),
    ),
    "image": Session(
        "What colour is the picture in red.png?",
        by_outputs(
            [chat_tool("view_image", {"path": "red.png"}, "call_a"), chat_text("It is red.")]
        ),
        {"red.png": png()},
    ),
    "compaction": Session(
        "Print the numbers, then tell me the last one.",
        in_order(
            [
                filling(chat_tool(RUN, {"cmd": "seq 1 20"}, "call_a"), 50_000),
                chat_text("The user wants the last of the numbers 1 to 20. It is 20."),
                chat_text("The last number is 20."),
            ]
        ),
        config={"model_auto_compact_token_limit": "20000"},
    ),
    "upstream-error": Session(
        "Say hello.",
        in_order([error(401, "Incorrect API key provided.", "invalid_request_error")]),
        check=lambda run: "Incorrect API key" in run.failure,
    ),
    "rate-limit-then-answer": Session(
        "Say hello.",
        in_order(
            [
                error(429, "Slow down.", "rate_limit_error", headers={"retry-after": "1"}),
                chat_text("Hello."),
            ]
        ),
    ),
}


def record(name: str, session: Session) -> Path:
    """Run the session and write `flows/NAME.flow`; AssertionError if it did not go as meant."""
    workdir = Path(tempfile.mkdtemp(prefix="interpose-session-"))
    try:
        if session.script is None:
            make_repo(workdir, 0)
        for file, content in session.files.items():
            (workdir / file).write_bytes(content)
        with Upstream(session.script or in_order([chat_text("unused")])) as upstream:
            if session.script:
                provider = f"providers: {{ upstream: {{ base_url: '{upstream.url}/v1' }} }}\n"
                model = "{ provider: upstream, model: vendor/model }"
            else:
                provider, model = "", "{ provider: demo }"
            policy = f"{provider}models: {{ test-model: {model} }}\n"
            with Chain(policy=policy) as chain:
                run = run_codex(chain.url, session.prompt, workdir, config=session.config)
                assert session.check(run), f"{name}: {run.explain()}"
                chain.stop()
                found = list(chain.record_dir.glob("*.flow"))
                assert len(found) == 1, chain.log()
                return sanitise(found[0], FLOWS / f"{name}.flow", workdir)
    finally:
        shutil.rmtree(workdir, ignore_errors=True)


def sanitise(source: Path, target: Path, workdir: Path) -> Path:
    """Copy a flow file with stable paths, ids and ports."""
    known: dict[bytes, bytes] = {}

    def pseudonym(match: re.Match[bytes]) -> bytes:
        made = b"00000000-0000-7000-8000-%012d" % (len(known) + 1)
        return known.setdefault(match.group(), made)

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: clean(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [clean(v) for v in value]
        if isinstance(value, str):
            return clean(value.encode()).decode()
        if not isinstance(value, bytes):
            return value
        value = value.replace(str(workdir).encode(), _WORKDIR.encode())
        value = value.replace(str(ROOT).encode(), b"/workspace/interpose")
        value = value.replace(sys.executable.encode(), b"/usr/bin/python3")
        value = _HOME.sub(b"/home/user", value)
        value = _UUID.sub(pseudonym, value)
        return _PORT.sub(b"127.0.0.1:8000", value)

    with source.open("rb") as file:
        flows = [f for f in FlowReader(file).stream() if isinstance(f, http.HTTPFlow)]
    target.parent.mkdir(exist_ok=True)
    with target.open("wb") as file:
        writer = FlowWriter(file)
        for flow in flows:
            state = flow.get_state()
            for part in ("request", "response", "comment", "metadata", "id"):
                state[part] = clean(state[part])
            copy = http.HTTPFlow.from_state(state)
            for message in (copy.request, copy.response):
                if message and "content-length" in message.headers:
                    message.headers["content-length"] = str(len(message.raw_content or b""))
            writer.add(copy)
    return target


def main(names: list[str]) -> int:
    for name in names or SESSIONS:
        path = record(name, SESSIONS[name])
        if replay([str(path)]):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
