"""Keys that a model spells in several events do not reach the client."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.exchange.conceal import ConcealedStream
from tests.e2e.searching import Search

KEYS = ("sk-proj-1Zx81Qm4vTb7Kd2Rw9Yc5Lf3Hs6Jg0Pna1", "Planted4Token5Of6The7Policy")
PROTOCOLS = ("chat", "messages", "responses")


def delta(protocol: str, text: str, call: bool) -> dict[str, object]:
    if protocol == "chat":
        said: dict[str, object] = {"content": text}
        if call:
            said = {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
        return {"choices": [{"index": 0, "delta": said, "finish_reason": None}]}
    if protocol == "messages":
        inner = {"type": "input_json_delta", "partial_json": text}
        inner = inner if call else {"type": "text_delta", "text": text}
        return {"type": "content_block_delta", "index": 0, "delta": inner}
    kind = "function_call_arguments" if call else "output_text"
    return {"type": f"response.{kind}.delta", "output_index": 0, "content_index": 0, "delta": text}


def event(value: dict[str, object]) -> bytes:
    name = f"event: {value['type']}\n" if "type" in value else ""
    return f"{name}data: {json.dumps(value)}\n\n".encode()


def told(protocol: str, body: bytes, call: bool) -> str:
    lines = [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: {")]
    texts = []
    for value in lines:
        if protocol == "chat":
            said = value["choices"][0]["delta"]
            texts.append(
                said["tool_calls"][0]["function"]["arguments"] if call else said["content"]
            )
        elif protocol == "messages":
            texts.append(value["delta"]["partial_json" if call else "text"])
        else:
            texts.append(value["delta"])
    return "".join(texts)


def through(protocol: str, pieces: list[str], call: bool = False) -> str:
    stream = ConcealedStream(protocol, frozenset(KEYS))
    out = b"".join(stream.feed(event(delta(protocol, piece, call))) for piece in pieces)
    out += stream.feed(b"", last=True)
    assert not Search(dict.fromkeys(KEYS, "key")).told(out)
    return told(protocol, out, call)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("call", [False, True])
@pytest.mark.parametrize("key", KEYS)
def test_in_two_events_cut_at_every_place(protocol: str, call: bool, key: str) -> None:
    for at in range(len(key) + 1):
        made = through(protocol, ["see ", key[:at], key[at:], " there"], call)
        assert made.startswith("see ") and made.endswith(" there")
        assert made.replace("[redacted]", "") == f"see {key[:at] if at < 4 else ''} there"
        made = through(protocol, [f"see {key[:at]}", f"{key[at:]} there"], call)
        assert made.replace("[redacted]", "") == f"see {key[:at] if at < 4 else ''} there"


@given(st.sampled_from(PROTOCOLS), st.data(), st.text(), st.text())
def test_in_many_events(protocol: str, data: st.DataObject, before: str, behind: str) -> None:
    key = data.draw(st.sampled_from(KEYS))
    text, pieces = f"{before}{key}{behind}", []
    while text:
        size = data.draw(st.integers(4, 12))
        pieces.append(text[:size])
        text = text[size:]
    pieces = [p.encode("utf-8", "replace").decode() for p in pieces]
    made = through(protocol, pieces)
    if "[redacted]" not in before + behind:
        assert made.count("[redacted]") == 1


@given(
    st.sampled_from(PROTOCOLS),
    st.lists(st.text() | st.sampled_from([*KEYS[0][:9], "sk-p", "Plan"])),
)
def test_what_is_no_key_comes_whole(protocol: str, pieces: list[str]) -> None:
    pieces = [p.encode("utf-8", "replace").decode() for p in pieces]
    assert through(protocol, pieces) == "".join(pieces)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_key_that_breaks_off(protocol: str) -> None:
    made = through(protocol, [f"see {KEYS[0][:-1]}"])
    assert made == "see [redacted]"
    assert through(protocol, ["a disk", "sk-proje", "ct"]) == "a disksk-project"
