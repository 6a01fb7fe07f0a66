"""Many turns of agents at once, and requests that mean harm."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.agents import Agents, png
from tests.e2e.chain import poll

POLICY = """
agents:
  cursor: { use: cursor, slots: 4, queue: 100, images_from: "%s" }
  # What it says is in its own words: a model and an effort stand on its command line.
  words:
    command: [cursor-agent, --trust]
    prompt: stdin
    model: [--model, "{model}"]
    effort: [--effort, "{effort}"]
    reads: [{ when: { type: result }, whole: result, ends: true }]
default: cursor
"""


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    (tmp_path / "pictures").mkdir()
    with Agents(tmp_path, POLICY % (tmp_path / "pictures")) as chain:
        (tmp_path / "state" / "login").touch()
        yield chain
    assert not chain.processes() and not chain.leftovers()


@pytest.mark.full
def test_fifty_at_once_on_four_slots(agents: Agents) -> None:
    """Ten sessions of five turns: each in its order, none lost, never more than four at once."""
    (agents.place / "state" / "go").touch()

    with ThreadPoolExecutor(50) as pool:
        turns = []
        for number in range(50):
            headers = {"x-session-id": f"s{number % 10}"}
            turns.append(pool.submit(agents.said, f"wait {number}", headers=headers, timeout=300))
        said = [turn.result(300) for turn in turns]
    assert [text.rpartition(": ")[2] for text in said] == [f"wait {n}" for n in range(50)]
    notes = sorted(agents.notes(), key=lambda note: float(note["at"]))
    under_way: dict[str, str] = {}
    for note in notes:
        if "begins" in note:
            assert note["session"] not in under_way.values()
            under_way[note["begins"]] = note["session"]
            assert len(under_way) <= 4
        else:
            del under_way[note["ends"]]
    assert not under_way
    # Five turns each, counted by the agent itself.
    counts = sorted(int(text.split()[1]) for text in said)
    assert counts == sorted([1, 2, 3, 4, 5] * 10)
    poll(lambda: not agents.processes(), 20, "no process is left")


def test_a_session_keeps_its_order(agents: Agents) -> None:
    """What came while another turn of the session runs waits for it, in the order it came."""
    headers = {"x-session-id": "s"}
    with ThreadPoolExecutor() as pool:
        turns = []
        for number in range(4):
            turns.append(pool.submit(agents.said, f"wait {number}", headers=headers))
            poll(
                lambda n=number: len(agents.get("/health?live=1").json()["under_way"]) > n,
                20,
                "the turn has come",
            )
        (agents.place / "state" / "go").touch()
        said = [turn.result(60) for turn in turns]
    assert said == [f"Told {n + 1} times, ha ha: wait {n}" for n in range(4)]


def image(url: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [
        {"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}},
    ]}]}  # fmt: skip


def local(path: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "local_image", "path": path}]}]}


def inline(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def schema(of: Any) -> dict[str, Any]:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": of}}
    return {"messages": [{"role": "user", "content": "x"}], "response_format": form}


def deep(levels: int) -> Any:
    found: Any = {"type": "string"}
    for _ in range(levels):
        found = {"type": "object", "properties": {"a": found}}
    return found


HOSTS = re.findall(r"\S+", r"""
127.0.0.1 localhost LOCALHOST localhost. 127.1 127.0.1 2130706433 0x7f000001 0x7f.0.0.1 0177.0.0.1
017700000001 0 0.0.0.0 0x0 00000177.1 127.0.0.1. 10.0.0.1 192.168.0.1 172.16.0.1 169.254.169.254
2852039166 0xa9fea9fe [::1] [::] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1]
[64:ff9b::7f00:1] [2002:7f00:1::] [fe80::1] [fe80::1%25lo] [fc00::1] [fd12::1] [fec0::1] [ff02::1]
[2001:db8::1] [::ffff:169.254.169.254] 100.64.0.1 224.0.0.1 255.255.255.255 240.0.0.1 198.18.0.1
192.0.0.8 ip6-localhost ①②⑦.⓪.⓪.① 127。0。0。1 １２７.0.0.1 user@127.0.0.1 example.com@127.0.0.1
127.0.0.1\@example.com 127.0.0.1:0 127.0.0.1:99999 %6c%6f%63alhost
""")
PATHS = [
    "/etc/passwd", "../../etc/passwd", "{root}/../state/login", "{root}/./../../../etc/passwd",
    "{root}/%2e%2e/state/login", "//etc/passwd", "~/.ssh/id_rsa", "/proc/self/environ", "/dev/zero",
    "/dev/stdin", "{root}\0.png", "{root}", "C:\\Windows\\win.ini", "\\\\server\\share\\a.png",
    "-rf", "{root}/link.png",
]  # fmt: skip
URLS = [
    "file:///etc/passwd", "file://{root}/../state/login", "file:{root}/../state/login",
    "file://localhost/etc/passwd", "file://elsewhere/etc/passwd", "FILE:///etc/passwd",
    "file:///{root}/%2e%2e/state/login", "file:///dev/zero", "ftp://127.0.0.1/a", "gopher://127.0.0.1",
    "javascript:alert(1)", "/etc/passwd", "", " ", "data:", "data:image/png;base64,!!!", "http://",
    "https:///a", "http://a\r\nhost: b/", "http://a.invalid/\r\nx-a: b", "http://\0/", "http://[::1",
    "jar:file:///a!/b", "http://127.0.0.1 @example.com/",
    inline(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "svg+xml"), inline(b"\x89PNG\r\n\x1a\n"),
    inline(gzip.compress(b"\0" * 1_000_000)), inline(png(100_000, 100_000)), inline(png(0, 0)),
    inline(png(2**31 - 1, 1)), inline(b"GIF89a\xff\xff\xff\xff\0\0\0"),
    inline(b"PK\3\4" + b"\0" * 99),
    inline(b"\0" * (21 * 1024 * 1024)),
]  # fmt: skip
NAMES = ["--help", "-c", "--dangerously-skip-permissions", "a b", "a\nb", "a\0b", "\x1b[31m",
         "$(id)", "`id`", "a;b", "../a", "a" * 5000, "ü", "{session}", "%s"]  # fmt: skip


def hostile(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """A name and a body for each; every one of them must be refused."""
    yield from ((f"host {h}", image(f"http://{h}/a.png")) for h in HOSTS)
    yield from ((f"path {p!r}", local(p.replace("{root}", str(root)))) for p in PATHS)
    yield from ((f"url {u[:40]!r}", image(u.replace("{root}", str(root)))) for u in URLS)
    said = {"messages": [{"role": "user", "content": "x"}]}
    yield from ((f"model {n[:30]!r}", {**said, "model": f"words:{n}"}) for n in NAMES)
    yield from (
        (f"effort {n[:30]!r}", {**said, "model": "words", "reasoning_effort": n}) for n in NAMES
    )
    yield "deep schema", schema(deep(100))
    yield "deeper schema", schema(deep(400))
    yield "large schema", schema({"description": "x" * 300_000})
    yield "wide schema", schema({f"a{n}": {} for n in range(50_000)})
    yield "no schema", schema(None)
    yield "list of a schema", schema([])
    yield "many images", {"messages": [image(inline(png(2, 2)))["messages"][0]] * 17}
    yield "no messages", {"messages": []}
    yield "much text", {"messages": [{"role": "user", "content": "x" * 9_000_000}]}
    yield "a million messages", {"messages": [{"role": "user", "content": "x"}] * 1_000_000}


@pytest.mark.full
def test_what_means_harm_is_refused(agents: Agents) -> None:
    root = agents.place / "pictures"
    (root / "link.png").symlink_to("/etc/passwd")
    seen, wrong = 0, []
    with httpx.Client(trust_env=False, timeout=120) as client:
        for name, body in hostile(root):
            answer = client.post(
                f"{agents.url}/chat/completions", json={"model": "cursor", **body}
            )
            seen += 1
            try:
                said = str(answer.json()["error"]["message"])
            except (ValueError, KeyError, TypeError):
                said = ""
            bad = any(word in said for word in ("Traceback", "Error(", " broke: ", "root:"))
            if not 400 <= answer.status_code < 500 or not said or bad:
                wrong.append((name, answer.status_code, answer.text[:300]))
            if left := agents.leftovers():
                wrong.append((name, 0, str(left)))
    assert not wrong, "\n".join(map(str, wrong))
    assert seen >= 100
    assert not agents.notes(), "an agent was started"
    # A redirect is in tests/unit/test_agents_images.py. Sessions may be called anything.
    (agents.place / "state" / "go").touch()
    for name in NAMES:
        assert agents.said("x", session_id=name).startswith("Told 1 ")
    words = [word for note in agents.notes() for word in note.get("words", [])]
    assert not set(words) & set(NAMES)


@pytest.mark.full
def test_a_body_that_is_nested_without_end(agents: Agents) -> None:
    for text in ("[" * 200_000, '{"a":' * 200_000, json.dumps({"messages": 1}), "", "\xff"):
        answer = agents.post("/v1/chat/completions", content=text.encode("latin-1"))
        assert 400 <= answer.status_code < 500 and answer.json()["error"]["message"], text[:20]
    inner = '{"model":"cursor","messages":[{"role":"user","content":"x"}],"response_format":%s}'
    deep = '{"a":' * 50_000 + "1" + "}" * 50_000
    answer = agents.post("/v1/chat/completions", content=inner % deep)
    assert 400 <= answer.status_code < 500 and answer.json()["error"]["message"]
