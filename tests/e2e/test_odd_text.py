"""Names, header fields and messages that hold line ends, commands of terminals or turned writing:
none gets further than where text may be anything.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from addons.flowfile import flows_of
from tests.e2e.chain import Chain, poll
from tests.e2e.raw import EVENTS, JSON_FIELD, TURNS, WHOLE, RawUpstream, chunked, post, talk

INTERPOSE = Path(sys.executable).parent / "interpose"
PROTOCOLS = sorted(TURNS)
#: All that a text may do to whoever shows it; the marks tell whether it did.
ODD = (
    "\r\nset-cookie: planted=1\r\n\r\n[00:00:00.000] planted\n\x1b]0;planted\x07\x1b[31m\0\x08"
    "\x7f\x85\x9b31m\u202eplanted\u2028planted\u2066\u200f\ufeff<b>&\"'"
)
#: What no terminal, page or log may get; lines end where the chain ends them.
_COMMANDS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
SSE = b"content-type: text/event-stream\r\n"
JSON = b"content-type: application/json\r\n"
#: A field whose value could end its line, as far as HTTP/1 lets it come; and one of two lines.
FIELDS = b"x-request-id: a\x1b[31m\x9b\rset-cookie: planted=1\x7f\x00\r\nx-two: one\r\n two\r\n"
PHRASE = b"\x1b[31m\x9bplanted"


def stream(pieces: Iterable[bytes], status: bytes = b"200 " + PHRASE) -> list[bytes]:
    head = b"HTTP/1.1 %b\r\n" % status + SSE + FIELDS + b"transfer-encoding: chunked\r\n\r\n"
    return [head, *chunked(pieces), b"0\r\n\r\n"]


def whole(body: bytes, status: bytes = b"200 " + PHRASE, fields: bytes = b"") -> list[bytes]:
    head = b"HTTP/1.1 %b\r\n" % status + JSON + FIELDS + fields
    return [head + b"content-length: %d\r\n\r\n" % len(body), body]


WRONG = json.dumps({"error": {"message": f"no {ODD}", "type": ODD, "code": ODD}}).encode()


ANSWERS = {
    "stream": stream(EVENTS),
    "whole": whole(WHOLE),
    "wrong in a stream": stream([*EVENTS[:2], b"data: " + WRONG + b"\n\n"]),
    **{
        f"status {status}": whole(
            WRONG, b"%d %b" % (status, PHRASE), b"retry-after: %b\r\n" % wait
        )
        for status, wait in (
            (400, b"1\x1b"),
            (401, b"x"),
            (404, b""),
            (429, b"inf"),
            (500, b"9" * 400),
            (503, b"nan"),
        )
    },
    "plain words": whole(ODD.encode(), b"502 " + PHRASE),
    "no JSON": whole(ODD.encode()),
    "no HTTP": [ODD.encode() + b"\r\n\r\n"],
    "nothing": [],
}
#: What clients send besides, in the body.
BESIDES: dict[str, dict[str, Any]] = {
    "responses": {
        "tools": [
            {"type": ODD},
            {"type": "web_search", "name": ODD},
            {"type": "function", "name": ODD, "parameters": {}},
        ],
        "metadata": {ODD: ODD},
    },
    "chat": {"user": ODD, "tools": [{"type": "function", "function": {"name": ODD}}]},
    "messages": {"tools": [{"type": "web_search_20250305", "name": ODD}, {"name": ODD}]},
}
#: What is refused, with the client's words in the message.
REFUSED: dict[str, dict[str, Any]] = {
    "responses": {"previous_response_id": ODD, "input": [{"type": ODD, "role": ODD}]},
    "chat": {"messages": [{"role": ODD, "content": {ODD: ODD}}], "stream": ODD},
    "messages": {"messages": [{"role": ODD, "content": ODD}], "max_tokens": ODD},
}


def fields() -> str:
    """Header fields as far as HTTP/1 lets them come; what holds a control character is refused."""
    marks = "\x9b31m\x85\u202eplanted".encode().decode("latin-1")
    named = {
        "user-agent": f"codex_exec/0.169.0 {marks}",
        "session-id": f"s{marks}",
        "thread-id": f"t{marks}",
        "x-interpose-account": "1",
    }
    return JSON_FIELD + "".join(f"{name}: {value}\r\n" for name, value in named.items())


class Worked:
    """A chain through which all of that went, and all bytes that its clients got."""

    def __init__(self, chain: Chain) -> None:
        self.chain, self.answers = chain, dict[str, bytes]()


@pytest.fixture(scope="module")
def worked() -> Iterator[Worked]:
    pieces: list[bytes] = []
    number = itertools.count()
    with RawUpstream(lambda request: pieces) as upstream:
        with Chain(upstream.url, options={"upstream": "chat"}) as chain:
            made = Worked(chain)

            def send(name: str, path: str, body: dict[str, Any], more: str) -> None:
                body = {**body, "model": f"m{next(number)}{ODD}"}
                head = post(path, json.dumps(body).encode(), more)
                made.answers[f"{name} {path}"] = talk(chain.port, [head])

            for protocol, (path, body) in TURNS.items():
                for name, pieces[:] in ANSWERS.items():
                    for streams in (True, False):
                        named = f"{name} {streams}"
                        send(named, path, {**body, "stream": streams}, JSON_FIELD)
                    send(f"{name} as Codex", path, {**body, "stream": True}, fields())
                pieces[:] = ANSWERS["stream"]
                send("besides", path, {**body, **BESIDES[protocol], "stream": True}, JSON_FIELD)
                send("refused", path, {**body, **REFUSED[protocol]}, JSON_FIELD)
                for tail in ("?x=%1b%0d%0a\u202e", "/\u202e\x85\x9b", "/%0d%0aplanted"):
                    odd_path = (path + tail).encode().decode("latin-1")
                    head = f"POST {odd_path} HTTP/1.1\r\nhost: 127.0.0.1\x9b\r\n{fields()}"
                    end = "connection: close\r\ncontent-length: 2\r\n\r\n{}"
                    talked = talk(chain.port, [(head + end).encode("latin-1")])
                    made.answers[f"path {path}{tail!r}"] = talked
            yield made


def odd_in(text: str) -> list[str]:
    """Where ``text`` commands a terminal, or turns writing round."""
    return [text[max(0, m.start() - 40) : m.end() + 40] for m in _COMMANDS.finditer(text)]


def test_heads(worked: Worked) -> None:
    """Nothing of anybody's makes a line in a head, or hides in one."""
    assert len(worked.answers) > 100
    for name, answer in worked.answers.items():
        head, found, _ = answer.partition(b"\r\n\r\n")
        assert found and head.startswith(b"HTTP/1.1 "), (name, answer[:300])
        for line in head.split(b"\r\n"):
            assert not re.search(rb"[\0-\x08\x0a-\x1f\x7f]", line), (name, line)
            assert not line.startswith((b"set-cookie", b" ")), (name, head)
        assert answer.count(b"HTTP/1.1 ") == 1, name
    assert any(b"warning: " in answer.lower() for answer in worked.answers.values())
    assert any(b"x-interpose-route: " in answer for answer in worked.answers.values())


def test_answers_are_of_their_protocol(worked: Worked) -> None:
    """And nobody is left with a crash in the chain."""
    for name, answer in worked.answers.items():
        assert b"mitmproxy" not in answer and b"text/html" not in answer, (name, answer[:500])
        assert b"broke, so" not in answer, (name, answer[:1000])


def test_the_log(worked: Worked) -> None:
    log = (worked.chain.folder / "output.txt").read_bytes().decode()
    assert "failed: " in log and "planted" in log
    assert not odd_in(log)
    starts = re.compile(r"\[\d\d:\d\d:\d\d\.\d+\]")
    for line in log.split("\n"):
        assert not line.startswith(("[00:00:00.000]", "set-cookie", "planted")), line
        assert not line or starts.match(line) or line.startswith(("    ", "Traceback")), line
    assert "Traceback" not in log, log


@pytest.fixture(scope="module")
def recorded(worked: Worked) -> Path:
    """Where all of it is recorded."""
    turns = len(worked.answers)

    def written() -> bool:
        found = [f for p in worked.chain.record_dir.glob("*.flow") for f in flows_of(p)]
        return len(found) >= turns

    poll(written, 30, "the recording")
    return worked.chain.record_dir


def test_comments_of_flows(recorded: Path) -> None:
    """mitmweb's list shows them."""
    for path in recorded.glob("*.flow"):
        for flow in flows_of(path):
            assert flow.comment and not odd_in(flow.comment)
            for line in flow.comment.split("\n")[1:]:
                assert line.startswith("· "), flow.comment


COMMANDS = {
    "audit": ["audit", "--journal", "FOLDER"],
    "audit json": ["audit", "--journal", "FOLDER", "--json"],
    "audit csv": ["audit", "--journal", "FOLDER", "--csv"],
    "audit session": ["audit", "--journal", "FOLDER", "--session", "s"],
    "audit verify": ["audit", "verify", "--journal", "FOLDER"],
    "stats": ["stats", "--plot", "FOLDER"],
    "stats json": ["stats", "--json", "FOLDER"],
    "stats csv": ["stats", "--csv", "FOLDER"],
    "replay": ["replay", "FOLDER"],
    "replay json": ["replay", "--json", "FOLDER"],
    "explain": ["policy", "explain", "FOLDER"],
    "explain json": ["policy", "explain", "--json", "FOLDER"],
    "record check": ["record", "--check", "FOLDER"],
    "whatif": ["whatif", "FOLDER"],
    "top": ["top", "--once", "--url", "URL"],
    "top json": ["top", "--once", "--json", "--url", "URL"],
}


def words(worked: Worked, recorded: Path, name: str) -> list[str]:
    places = {"FOLDER": str(recorded), "URL": worked.chain.origin}
    return [str(INTERPOSE), *(places.get(word, word) for word in COMMANDS[name])]


def environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "160", "TERM": "xterm-256color"}


@pytest.mark.full
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_commands(worked: Worked, recorded: Path, name: str) -> None:
    done = subprocess.run(
        words(worked, recorded, name),
        capture_output=True, timeout=120, env=environment(), stdin=subprocess.DEVNULL,
    )  # fmt: skip
    said, complaints = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in complaints and "internal error" not in complaints, complaints
    assert said or complaints
    assert not odd_in(said) and not odd_in(complaints)
    for line in (said + complaints).split("\n"):
        assert not line.strip('" ').startswith(("set-cookie", "[00:00", "planted")), said
    if name.endswith("json"):
        # To a program the names are what they were.
        json.loads(said)


@pytest.mark.parametrize("name", ["audit", "stats", "top", "explain"])
def test_commands_in_a_terminal(worked: Worked, recorded: Path, name: str) -> None:
    """Where colours are commands to the terminal, nothing of others' is."""
    terminal, theirs = pty.openpty()
    command = words(worked, recorded, name)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment()
    ):
        os.close(theirs)
        said = read_all(terminal)
    text = said.decode()
    assert "Traceback" not in text and text.strip()
    own = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
    assert not odd_in(own.sub("", text).replace("\r\n", "\n")), text
    assert "\x1b]0;" not in text and "\x1b[31mplanted" not in text


def read_all(terminal: int) -> bytes:
    said = b""
    # An error is how Linux tells that nobody is left at the other end.
    with contextlib.suppress(OSError):
        while more := os.read(terminal, 65536):
            said += more
    os.close(terminal)
    return said


def test_pages(worked: Worked) -> None:
    chain = worked.chain
    health = chain.get("/health?live=1").json()
    assert health["live"]["sessions"] and not odd_in("".join(strings(health["live"])))
    for path in ("/dashboard", "/dashboard?session=%1b%0a%E2%80%AE", "/picker", "/metrics"):
        page = chain.get(path)
        assert not odd_in(page.text), path
        assert "<b>&" not in page.text or path == "/metrics"


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
