"""Recordings that may be shared: planted secrets go, names stay told apart, and it still replays."""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from mitmproxy import http

from addons.flowfile import flows_of, read, recorded_of, row_of, set_body, set_row, write
from addons.offline import Replayer
from addons.replay import main as replay_main
from addons.sanitise import main
from shim.cli import UsageError
from shim.cli.record import rules
from shim.record import sanitise
from shim.record.findings import findings, forms
from shim.record.pseudonyms import Pseudonyms
from tests.planted import SECRETS, core

pytestmark = pytest.mark.slow

FLOWS = sorted((Path(__file__).resolve().parents[2] / "flows").glob("*.flow"))
Out = pytest.CaptureFixture[str]


def loaded(words: str, *, path: Path = FLOWS[0]) -> list[http.HTTPFlow]:
    """A recording in which the user, a tool, the model (in pieces) and a header say ``words``."""
    flows = [f for f in flows_of(path) if isinstance(f, http.HTTPFlow)]
    for flow in flows:
        leg = row_of(flow)["leg"]
        if leg == "client":
            value = json.loads(flow.request.content or b"")
            value["input"][-1:] = [
                {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": words}],
                },
                {
                    "type": "function_call",
                    "call_id": "call_z",
                    "name": "exec_command",
                    "arguments": json.dumps({"cmd": f"echo\n{words}"}),
                },
                {"type": "function_call_output", "call_id": "call_z", "output": words},
            ]
            set_body(flow.request, json.dumps(value).encode())
            flow.request.headers["x-note"] = quote(words)
            flow.request.headers["authorization"] = "Bearer short"
        elif flow.response and flow.response.status_code == 200:
            set_body(flow.response, b"".join(chunks(words)))
        row = {**row_of(flow), "decisions": [f"catch: {words}"], "seed": None}
        set_row(flow, row)
    for recorded, (client, upstream) in zip(
        recorded_of(flows), zip(flows[::2], flows[1::2], strict=True), strict=True
    ):
        with Replayer() as replayer:
            made = replayer.run(recorded).made
        assert made and made.request and client.response and made.answer is not None
        set_body(upstream.request, made.request)
        set_body(client.response, made.answer)
    return flows


def chunks(words: str) -> Iterator[bytes]:
    """A Chat stream that says and calls ``words`` three characters at a time."""
    arguments = json.dumps({"cmd": f"echo\n{words}"})
    deltas: list[dict[str, Any]] = [{"content": words[i : i + 3]} for i in range(0, len(words), 3)]
    first = {
        "index": 0,
        "id": "call_q",
        "type": "function",
        "function": {"name": "exec_command", "arguments": ""},
    }
    deltas.append({"tool_calls": [first]})
    deltas += [
        {"tool_calls": [{"index": 0, "function": {"arguments": arguments[i : i + 3]}}]}
        for i in range(0, len(arguments), 3)
    ]
    for delta in deltas:
        yield chunk(delta)
    yield chunk({}, "tool_calls") + b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return (
        b"data: %b\n\n"
        % json.dumps({"id": "chatcmpl-AbCd1234EfGh5678", "choices": [choice]}).encode()
    )


def everything(path: Path) -> str:
    """A file as raw bytes, unescaped, put together, and out of Base64 and URLs."""
    seen = [path.read_bytes().decode("utf-8", "replace")]
    for flow in flows_of(path):
        assert isinstance(flow, http.HTTPFlow)
        seen += [flow.comment, *map(str, flow.metadata.values())]
        for message in (flow.request, flow.response):
            assert message
            for text in (
                *map(str, message.headers.values()),
                *sanitise.texts(message.content or b""),
            ):
                seen += forms(text)
    return "\n".join(seen)


def sanitised(folder: Path, flows: list[http.HTTPFlow], *words: str, code: int = 0) -> Path:
    write(folder / "in.flow", flows)
    assert (
        main(["--sanitise", str(folder / "in.flow"), "-o", str(folder / "out.flow"), *words])
        == code
    )
    return folder / "out.flow"


@pytest.mark.parametrize("name", SECRETS)
def test_a_planted_secret_is_found_and_goes(name: str, tmp_path: Path, capsys: Out) -> None:
    secret = SECRETS[name](random.Random(name))
    hidden = base64.b64encode(f"it is {secret} here".encode()).decode()
    flows = loaded(f"see {secret} and {hidden} there")
    assert core(secret) in "\n".join(sanitise.texts(flows[1].response.content or b""))  # type: ignore[union-attr]
    write(tmp_path / "in.flow", flows)
    assert main(["--check", str(tmp_path / "in.flow")]) == 1
    said = capsys.readouterr().out
    assert ": key: " in said and core(secret) not in said
    out = sanitised(tmp_path, flows)
    assert core(secret) not in everything(out)
    assert main(["--check", str(out)]) == 0 and replay_main([str(out)]) == 0


WORDS = (
    "in /home/alice/work/shop and C:\\Users\\alice\\x, file:///Users/bob/y; by alice, ALICE-1, malice; "
    "mail carol@corp.io or dave@example.com; http://git.corp.io:8443/x at git.corp.io, 10.1.2.3; "
    "resp_0a1B2c3D4e5F6g; 3f2b8c9a-1111-4222-8333-abcdefabcdef; /tmp/pytest-of-alice/z"
)


def test_names_paths_hosts_and_ids_get_stable_pseudonyms(tmp_path: Path) -> None:
    out = sanitised(tmp_path, loaded(WORDS))
    found = everything(out)
    for gone in (
        "bob",
        "carol",
        "corp.io",
        "10.1.2.3",
        "0a1B2c3D4e5F6g",
        "3f2b8c9a",
        "AbCd1234",
        "/alice",
    ):
        assert gone not in found, gone
    flow = next(iter(flows_of(out)))
    assert isinstance(flow, http.HTTPFlow)
    said = json.loads(flow.request.content or b"")["input"][-1]["output"]
    assert said.startswith(
        "in /home/user/work/shop and C:\\Users\\user\\x, file:///Users/user/y; by user, "
    )
    assert "malice; mail user-1@example.com or dave@example.com; http://host-" in said
    host = re.search(r"http://(host-\d+\.example):8443/x at (\S+),", said)
    assert host and host[1] == host[2]
    again = tmp_path / "again"
    again.mkdir()
    assert sanitised(again, loaded(WORDS)).read_bytes() == out.read_bytes()
    # What is sanitised already stays as it is.
    third = tmp_path / "third.flow"
    assert main(["--sanitise", str(out), "-o", str(third)]) == 0
    assert [f.request.content for f in flows_of(third)] == [
        f.request.content for f in flows_of(out)
    ]  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", FLOWS, ids=lambda p: p.stem)
def test_a_sanitised_recording_replays_byte_for_byte(path: Path, tmp_path: Path) -> None:
    flows = [f for f in flows_of(path) if isinstance(f, http.HTTPFlow)]
    out = sanitised(tmp_path, flows, "--name", "codex_exec", "--prompts", "hide")
    recorded = list(read(out))
    with Replayer() as replayer:
        assert recorded and not [d for r in recorded for d in replayer.run(r).differences]
    assert b"codex_exec" not in out.read_bytes()
    assert len(recorded) == len(list(read(path)))


def test_prompts_pictures_and_rules_of_ones_own(tmp_path: Path) -> None:
    picture = "data:image/png;base64," + base64.b64encode(bytes(range(256)) * 2).decode()
    flows = loaded(f"the Zebra project {picture}")
    hidden = everything(
        sanitised(tmp_path, flows, "--prompts", "hide", "--replace", "[Zz]ebra=Horse")
    )
    assert "ebra" not in hidden and "the Horse project" in hidden and picture not in hidden
    assert sanitise.BLANK in hidden and re.search(r"\[prompt \d+, [\d,]+ characters\]", hidden)
    assert "You are a coding agent" not in hidden
    flows = loaded(picture)
    assert picture in everything(sanitised(tmp_path, flows, "--pictures", "keep"))


def test_what_mitmproxy_keeps_beside_the_messages_goes(tmp_path: Path, capsys: Out) -> None:
    """Metadata of other addons, and the flow as it was before somebody edited it."""
    secret = SECRETS["openai"](random.Random(7))
    flows = loaded("hello")
    flows[0].request.headers["x-note"] = secret
    flows[0].backup()
    flows[0].request.headers["x-note"] = "edited"
    flows[1].metadata["proxyauth"] = ("carol@corp.io", "open sesame")
    write(tmp_path / "seen.flow", flows)
    assert main(["--check", str(tmp_path / "seen.flow")]) == 1
    said = capsys.readouterr().out
    assert "flow 1: hidden: the flow as it was before it was edited" in said
    assert "flow 2: e-mail address: carol@corp.io" in said
    raw = sanitised(tmp_path, flows).read_bytes()
    assert not [word for word in (secret, "carol", "sesame") if word.encode() in raw]


def test_a_rule_is_no_way_around_the_others(tmp_path: Path, capsys: Out) -> None:
    out = sanitised(tmp_path, loaded("x"), "--replace", "You are=/home/mallory/x", code=0)
    assert "mallory" not in everything(out)
    assert main(["--check", str(tmp_path / "none.flow")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_left_over_things_stop_the_writing(
    tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pseudonyms, "text", lambda self, text: text)
    out = sanitised(tmp_path, loaded("/home/mallory/x"), code=1)
    assert not out.exists()
    said = capsys.readouterr().err
    assert "home folder: /home/mallory" in said and "not written" in said


def test_rules_that_are_none() -> None:
    for rule in ("x", "=y", "(=y"):
        with pytest.raises(UsageError, match="--replace"):
            rules([rule])


def test_ordinary_text_holds_nothing() -> None:
    for text in (
        "a = b\nreturn token_count(x)", "def f(password: str) -> None", "version 1.2.3.4 of 10.0",
        "/home/user/x and /homework/alice", "git@github.com:a/b.git", "http://localhost:8080/v1",
        "0123456789abcdef" * 4, "sk-short", "Bearer [redacted]", "me@example.com",
    ):  # fmt: skip
        assert findings(text) == [], text


MACHINES = {
    "db1.corp.acme-robotics.com": "host name",
    "acmerobotics.de": "host name",
    "build-7.internal": "host name",
    "db.prod.internal": "host name",
    "printer3.local": "host name",
    "acme-app.fly.dev": "host name",
    "81.169.145.77": "public address",
    "2a01:4f8:c0c:9ab1::2": "public address",
}


@pytest.mark.parametrize("around", ["connect to {} now", "see `{}`.", "a\\n{}", "({}:8443)", '"{}"', "{}/x"])
def test_machines_in_prompts_get_pseudonyms(around: str, tmp_path: Path, capsys: Out) -> None:
    flows = loaded(" ".join(around.format(machine) for machine in MACHINES))
    write(tmp_path / "seen.flow", flows)
    assert main(["--check", str(tmp_path / "seen.flow")]) == 1
    told = capsys.readouterr().out
    out = sanitised(tmp_path, flows)
    for machine, kind in MACHINES.items():
        assert f"{kind}: {machine}" in told
        assert machine not in everything(out)
    assert main(["--check", str(out)]) == 0


def test_names_of_programs_and_versions_are_no_machines() -> None:
    for text in (
        "logger.info and self.net and threading.local()", "np.int8, a.b.c, app.config.dev = 1",
        "com.example.Main", "main.py README.md foo.rs run.sh", "google.golang.org/protobuf",
        "Chrome/120.0.0.0 Safari/537.36", "version 81.2.3.4", "1.3.6.1.4.1.311", "id-at 2.5.4.3",
        "torch.nn.Module", "192.0.2.7 and 8.8.8.8", "std::net::TcpStream", "a[0].org", "x.com = 3",
        "2024:05:01 12:30:00", "me@example.org and git@github.com", "dist/app.io.js",
    ):  # fmt: skip
        assert findings(text) == [], text


def test_streams_of_every_protocol_are_put_together() -> None:
    text = Pseudonyms()
    text.learn("/home/alice")
    events = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "/ho"}},
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": "al"},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "me/alice/x"},
        },
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": "ice"},
        },
        {"type": "response.output_text.delta", "output_index": 0, "delta": "by al"},
        {"type": "response.output_text.delta", "output_index": 0, "delta": "ice"},
    ]
    body = (
        b"".join(b"event: x\ndata: %b\n\n" % json.dumps(e).encode() for e in events)
        + b": alive\n\n"
    )
    made = sanitise.body(body, text.text)
    assert b"alice" not in made and made.endswith(b": alive\n\n")
    assert {"by user", "/home/user/x", "user"} <= set(joined(made))
    assert (
        sanitise.body(b"data: {}\n\ndata: [DONE]\n\n", text.text) == b"data: {}\n\ndata: [DONE]\n\n"
    )


def joined(body: bytes) -> list[str]:
    return list(sanitise.texts(body))
