"""Masks: stable, reversible, only where something was found; and the whole way there and back."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.policy.rules import RedactRule
from shim.prompt.mask import Masks, Sessions
from shim.prompt.secrets import Finder, luhn
from shim.record.redact import Redactor
from shim.route.choose import Route
from shim.turn import CallDelta, CallStart, Event, Finish, KeepAlive, Reasoning, Started, Text
from shim.wire.protocols import codec
from shim.wire.translate import Translation
from shim.wire.unmask import Unmask, UnmaskEvents

KEY = "sk-proj-abcdefghijklmnopqrstuvwx"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIE+/=\nabc\n-----END RSA PRIVATE KEY-----"
RULES = """
- {name: keys, use: api-keys}
- {name: pem, use: private-keys}
- {name: mail, use: emails}
- {name: card, use: cards}
- {name: customer, pattern: 'CUST-\\d{6}'}
- {name: team, value: '${TEAM}'}
"""
ENV = {"TEAM": 'pass"word\\n'}


def finder(rules: str = RULES) -> Finder:
    return Finder(msgspec.convert(yaml.safe_load(rules), list[RedactRule]), ENV)


FINDER = finder()


def masks(key: bytes = b"session") -> Masks:
    return Masks(FINDER, key)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (KEY, "keys"),
        ("ghp_" + "a" * 36, "keys"),
        ("AKIAABCDEFGHIJKLMNOP", "keys"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijklmnop", "keys"),
        (PEM, "pem"),
        ("kim.lee+x@mail.example.org", "mail"),
        ("4111 1111 1111 1111", "card"),
        ("CUST-123456", "customer"),
        (ENV["TEAM"], "team"),
    ],
)
def test_what_is_found(text: str, name: str) -> None:
    around = f"before {text} after"
    assert FINDER.find(around) == [(7, 7 + len(text), name)]
    made = masks()
    hidden = made.hide(around)
    assert text not in hidden and hidden.startswith(f"before MASKED_{name.upper()}_")
    assert Unmask(made.table).whole(hidden) == around


@pytest.mark.parametrize(
    "text",
    ["sk-short", "4111 1111 1111 1112", "a@b", "CUST-12", "password", "user@host", "x" * 300],
)
def test_what_is_none(text: str) -> None:
    made = masks()
    assert made.hide(text) is text and not made.table


def test_an_unset_variable_masks_nothing() -> None:
    assert not Finder([RedactRule(name="x", value="${NOT_SET}")], {})


def test_the_same_secret_has_the_same_mask_in_a_session_and_another_elsewhere() -> None:
    assert masks().hide(KEY) == masks().hide(KEY) != masks(b"other").hide(KEY)
    sessions = Sessions()
    assert sessions.masks("a", FINDER) is sessions.masks("a", FINDER)
    kept = sessions.masks("a", FINDER)
    kept.hide(KEY)
    assert kept.table.items() <= sessions.masks("a", finder()).table.items()


TEXTS = st.lists(
    st.sampled_from(
        [
            KEY,
            PEM,
            "CUST-123456",
            "a@b.example",
            "MASKED_",
            "MASKED_KEYS_0123456789ab",
            "M",
            "MASK",
            ENV["TEAM"],
            " ",
            "\n",
            '"',
            "\\",
            "ü",
            "plain words",
            "{",
        ]
    ),
    max_size=8,
).map(" ".join)


@given(TEXTS)
def test_what_is_hidden_comes_back_whole(text: str) -> None:
    made = masks()
    hidden = made.hide(text)
    assert Unmask(made.table).whole(hidden) == text
    assert not FINDER.find(hidden)
    for secret in made.table.values():
        assert secret not in hidden


def test_ids_and_data_of_an_element_are_left_alone_and_bytes_stay_where_nothing_is() -> None:
    made = masks()
    raw = msgspec.Raw(b'{"type":"message",  "content":"x", "n":1.50}')
    assert made.hide_json(raw) is raw
    value: dict[str, Any] = {
        "type": "function_call",
        "call_id": KEY,
        "encrypted_content": KEY,
        "arguments": json.dumps({"cmd": f"echo {ENV['TEAM']}", "k": PEM}),
        "output": [{"type": "input_text", "text": f"a {KEY}"}, {"image_url": f"data:{KEY}"}],
    }
    hidden = json.loads(bytes(made.hide_json(msgspec.Raw(json.dumps(value).encode()))))
    assert hidden["call_id"] == hidden["encrypted_content"] == KEY
    assert hidden["output"][1] == value["output"][1]
    assert sorted(made.table.values()) == sorted([KEY, PEM, ENV["TEAM"]])
    inner = json.loads(hidden["arguments"])
    unmask = Unmask(made.table)
    assert unmask.whole(inner["cmd"]) == f"echo {ENV['TEAM']}" and unmask.whole(inner["k"]) == PEM
    # Back in the arguments of a call it is written as JSON writes it.
    back = unmask.value(hidden)
    assert json.loads(back["arguments"]) == json.loads(value["arguments"])


TABLE = {"MASKED_A_000000000001": 'se"c\nret', "MASKED_AB_00000000000f": "other"}
SAID = st.lists(
    st.sampled_from([*TABLE, "MASKED_A_00000000000", "M", "MASKED_", "MAS", " ", "x", "ü", "\n"]),
    max_size=8,
).map("".join)


def cuts(text: str, at: list[int]) -> list[str]:
    places = sorted({0, len(text), *(n % (len(text) + 1) for n in at)})
    return [text[a:b] for a, b in itertools.pairwise(places)]


@given(SAID, SAID, SAID, st.lists(st.integers(0, 400), max_size=12))
def test_events_come_back_at_any_cut(thought: str, text: str, words: str, at: list[int]) -> None:
    unmask = Unmask(TABLE)
    arguments = json.dumps({"cmd": words}, ensure_ascii=False)
    events: list[Event] = [Reasoning(p) for p in cuts(thought, at)]
    events += [e for p in cuts(text, at) for e in (Text(p), KeepAlive())]
    events += [CallStart(1, "c1", "run"), CallStart(2, "c2", "run")]
    pairs = itertools.zip_longest(cuts(arguments, at), cuts(arguments, at[:3]))
    for one, two in pairs:
        events += [CallDelta(1, one)] if one is not None else []
        events += [CallDelta(2, two)] if two is not None else []
    events.append(Finish("tool_calls"))
    whole, single = UnmaskEvents(unmask), UnmaskEvents(unmask)
    for got in (whole.filter(events), [o for e in events for o in single.filter([e])]):
        said = "".join(e.text for e in got if isinstance(e, Text))
        assert said == unmask.whole(text)
        assert "".join(e.text for e in got if isinstance(e, Reasoning)) == unmask.whole(thought)
        for key in (1, 2):
            made = "".join(e.arguments for e in got if isinstance(e, CallDelta) and e.key == key)
            assert json.loads(made) == {"cmd": unmask.whole(words)}
        assert got[-1] == Finish("tool_calls")


ASKED: dict[str, dict[str, Any]] = {
    "responses": {"input": "hi", "tools": [{"type": "function", "name": "run"}]},
    "chat": {
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": {"name": "run", "parameters": {}}}],
    },
    "messages": {
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 9,
        "tools": [{"name": "run", "input_schema": {}}],
    },
}


def made_by(protocol: str, events: list[Event]) -> bytes:
    """A stream of ``protocol`` that says ``events``."""
    body = {"model": "m", "stream": True, **ASKED[protocol]}
    turn = codec(protocol).read_request(json.dumps(body).encode())
    bridge = Translation(turn, Route("x", "chat", "m", "m", "t"), codex=False).bridge
    encoder = codec(protocol).encoder(
        turn=turn, model="m", provider="far", bridge=bridge, codex=False
    )
    return encoder.encode([Started("a1", 5), *events])


@pytest.mark.parametrize("protocol", sorted(ASKED))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_answers_in_the_clients_own_protocol_come_back_at_any_cut(
    protocol: str, data: st.DataObject
) -> None:
    thought, text, words = (data.draw(SAID) for _ in range(3))
    at = data.draw(st.lists(st.integers(0, 400), max_size=8))
    arguments = json.dumps({"cmd": words}, ensure_ascii=False)
    events: list[Event] = [Reasoning(p) for p in cuts(thought, at) if p]
    events += [Text(p) for p in cuts(text, at) if p]
    events += [CallStart(1, "c1", "run")]
    events += [CallDelta(1, p) for p in cuts(arguments, at)]
    events.append(Finish("tool_calls"))
    stream = made_by(protocol, events)
    body = {"model": "m", "stream": True, **ASKED[protocol]}
    turn = codec(protocol).read_request(json.dumps(body).encode())
    unmask = Unmask(TABLE, {"run": "mine"})
    route = Route("up", protocol, "m", "m", "t")  # type: ignore[arg-type]
    translator = Translation(turn, route, codex=False, unmask=unmask).translator()
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    ends = sorted({0, len(stream), *places})
    out = b"".join(translator.feed(stream[a:b]) for a, b in itertools.pairwise(ends))
    out += translator.close()
    got = codec(protocol).decoder(lambda: "s", "far", set)
    seen = [*got.feed(out), *got.close()]
    assert "".join(e.text for e in seen if isinstance(e, Text)) == unmask.whole(text)
    if protocol != "messages" or thought:
        assert "".join(e.text for e in seen if isinstance(e, Reasoning)) == unmask.whole(thought)
    (start,) = [e for e in seen if isinstance(e, CallStart)]
    assert start.name == "mine"
    said = "".join(e.arguments for e in seen if isinstance(e, CallDelta))
    assert json.loads(said) == {"cmd": unmask.whole(words)}
    assert not any(mask.encode() in out for mask in TABLE)


def test_a_stream_without_masks_passes_byte_for_byte() -> None:
    stream = b': ping\r\n\r\nevent: x\r\ndata: {"a": 1.50,  "delta": "hi"}\r\n\r\ndata: [DONE]\n\n'
    body = {"model": "m", "stream": True, **ASKED["chat"]}
    turn = codec("chat").read_request(json.dumps(body).encode())
    made = Translation(turn, Route("up", "chat", "m", "m", "t"), codex=False, unmask=Unmask(TABLE))
    translator = made.translator()
    out = b"".join(translator.feed(stream[n : n + 1]) for n in range(len(stream)))
    assert out + translator.close() == stream


def test_recordings_are_masked_alike_and_blobs_are_hashed() -> None:
    redact = Redactor({"sk-client"}, masks(), blobs_over=100)
    body = json.dumps(
        {"a": f"x {KEY}", "b": "kim@mail.example", "team": ENV["TEAM"], "i": "QUJD" * 50}
    )
    out = redact.data(body.encode()).decode()
    assert masks().hide(KEY) in out and "kim@" not in out
    assert json.dumps(ENV["TEAM"])[1:-1] not in out
    assert "[blob sha256:" in out and "200 bytes]" in out
    assert Redactor({"sk-client"}).data(b"\xff plain") == b"\xff plain"


@pytest.mark.parametrize("before", ["\n", "\t", '"', "\\", "\u2028", "x ", ""])
def test_what_follows_an_escape_in_a_recording_is_found(before: str) -> None:
    body = json.dumps({"a": f"{before}{KEY}", "b": f"{before}kim@mail.example"}).encode()
    out = Redactor((), masks()).data(body)
    assert KEY.encode() not in out and b"kim@" not in out
    assert json.loads(out)["a"].startswith(before)


def test_two_rules_may_name_their_groups_alike() -> None:
    made = finder("[{name: a, pattern: '(?P<x>AA[0-9]+)'}, {name: b, pattern: '(?P<x>BB[0-9]+)'}]")
    assert made.find("AA1 BB22") == [(4, 8, "b")]
    assert made.find("AA123 BB22") == [(0, 5, "a"), (6, 10, "b")]


def test_luhn() -> None:
    assert luhn("4111111111111111") and not luhn("4111111111111112") and not luhn("0")
