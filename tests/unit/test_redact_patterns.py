"""What is found: the built-in sets, what only looks like one, patterns and values of one's own."""

from __future__ import annotations

import json
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.policy.rules import RedactRule
from shim.prompt.mask import Masks, Sessions
from shim.prompt.secrets import Finder
from shim.record.redact import Redactor

KEY = "sk-proj-abcdefghijklmnopqrstuvwx"
Set = Literal["api-keys", "private-keys", "credentials", "emails", "cards"]


def built_in(*names: Set) -> Finder:
    return Finder([RedactRule(name=name, use=name) for name in names], {})


@pytest.mark.parametrize(
    "text",
    [
        "at 1700000000000 ms",
        "4 4 4 4 1 1 1 1 1 1 1 1 1 1 1 1",
        "0.4111111111111111",
        "f4111111111111111",
    ],
)
def test_numbers_that_are_no_cards(text: str) -> None:
    assert not built_in("cards").find(text)


def test_a_number_in_front_does_not_hide_a_card() -> None:
    assert built_in("cards").find("1234 4111 1111 1111 1111") == [(5, 24, "cards")]


def test_what_is_refused_by_its_checksum_hides_nothing_behind_it() -> None:
    rules = [RedactRule(name="c", use="cards"), RedactRule(name="own", pattern="1112-[A-Z]+")]
    assert Finder(rules, {}).find("4111111111111112-ABC") == [(12, 20, "own")]


def test_a_lazy_pattern_stays_lazy_and_the_longest_rule_wins() -> None:
    lazy = RedactRule(name="lazy", pattern='token="(.*?)"')
    assert Finder([lazy], {}).find('token="abc" user="kim"') == [(0, 11, "lazy")]
    longer = RedactRule(name="longer", pattern='token="abc" user')
    assert Finder([lazy, longer], {}).find('token="abc" user="kim"') == [(0, 16, "longer")]


@given(st.text(max_size=8), st.text(max_size=8))
def test_places_count_characters(before: str, after: str) -> None:
    rule = RedactRule(name="x", value="¡secreto!")
    text = f"{before}¡secreto!{after}"
    assert (len(before), len(before) + 9, "x") in Finder([rule], {}).find(text)


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_bodies_that_are_no_text_are_masked_too(before: bytes, after: bytes) -> None:
    made = Redactor((), Masks(built_in("api-keys"), b"k"))
    out = made.data(before + b" " + KEY.encode() + b" " + after)
    assert KEY.encode() not in out and out.startswith(before) and out.endswith(after)


def test_a_recording_has_the_masks_of_the_session() -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nMIIE/+=\n-----END PRIVATE KEY-----"
    finder = built_in("private-keys")
    sent = Masks(finder, b"k").hide(pem)
    recorded = Redactor((), Masks(finder, b"k", as_json=True)).data(json.dumps(pem).encode())
    assert json.loads(recorded) == sent


def test_an_element_keeps_what_holds_no_secret_byte_for_byte() -> None:
    masks = Masks(built_in("api-keys"), b"k")
    before = b'{"n": 1.50,  "e": 1E5, "big": 123456789012345678901234567890, "t": "'
    hidden = bytes(masks.hide_json(msgspec.Raw(before + KEY.encode() + b'", "u": "\\u00fc" }')))
    assert hidden == before + masks.hide(KEY).encode() + b'", "u": "\\u00fc" }'


@pytest.mark.parametrize("field", ["name", "url", "data", "id", "type", "arguments", "input"])
def test_in_a_calls_own_arguments_every_field_may_hold_a_secret(field: str) -> None:
    masks = Masks(built_in("api-keys"), b"k")
    inner = {field: KEY, "list": [{field: {"deep": KEY}}]}
    use = {"type": "tool_use", "id": KEY, "input": inner}
    calls = [{"id": KEY, "function": {"name": "run", "arguments": json.dumps(inner)}}]
    for element in ({"content": [use]}, {"tool_calls": calls}):
        raw = json.dumps(element).encode()
        hidden = bytes(masks.hide_json(msgspec.Raw(raw)))
        assert hidden.count(KEY.encode()) == 1
        assert hidden == raw.replace(KEY.encode(), masks.hide(KEY).encode()).replace(
            masks.hide(KEY).encode(), KEY.encode(), 1
        )


def test_pictures_stay() -> None:
    masks = Masks(Finder([RedactRule(name="x", pattern="AAAA+")], {}), b"k")
    raw = msgspec.Raw(
        b'{"output": "data:image/png;base64,AAAAAAAA", "image_url": {"url": "data:AAAAA"}}'
    )
    assert masks.hide_json(raw) is raw
    # Nor where another part of the element is masked.
    both = b'{"source": {"type": "base64", "data": "AAAAA"}, "b64_json": "%b", "text": "%b"}'
    hidden = masks.hide_json(msgspec.Raw(both % (b"A" * 64, b"AAAAA")))
    assert bytes(hidden) == both % (b"A" * 64, masks.hide("AAAAA").encode())
    # A stream's lines look alike, and are none.
    assert masks.hide_json(msgspec.Raw(b'{"output": "data: AAAAAAAA"}')) != raw


def test_half_a_surrogate_breaks_nothing() -> None:
    masks = Masks(built_in("api-keys"), b"k")
    raw = b'{"a": "\\ud800", "b": "\\ud800 %b"}' % KEY.encode()
    hidden = json.loads(bytes(masks.hide_json(msgspec.Raw(raw))))
    assert hidden == {"a": "\ud800", "b": f"\ud800 {masks.hide(KEY)}"}


def test_a_key_that_is_made_with_a_secret_is_not_the_sessions_name() -> None:
    finder = built_in("api-keys")
    plain, own = Sessions(), Sessions(b"of this machine")
    assert plain.key("s") == "s" != own.key("s")
    assert own.masks("s", finder).hide(KEY) != plain.masks("s", finder).hide(KEY)
    assert own.masks("s", finder).hide(KEY) == Masks(finder, own.key("s").encode()).hide(KEY)
