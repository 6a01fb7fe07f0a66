"""Browsers that have signed in: their tokens and cookies, codes, and who guesses."""

from __future__ import annotations

import html
import re

import msgspec
import pytest

from shim.exchange.cookies import set_cookie, signed_in, without_ours
from shim.exchange.values import ClientRequest
from shim.live.guard import FORM, Refused, form_of
from shim.live.sign_in import CODE, SIGNED_IN, SignIns, form
from tests.unit.test_forwarded import request


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_token_tells_whose_key_was_shown_until_it_ends(clock: Clock) -> None:
    ins = SignIns(clock)
    one, two = ins.begin("a"), ins.begin("b")
    assert (ins.owner(one), ins.owner(two)) == ("a", "b")
    assert len(one) > 50 and one != two
    name, _, secret = one.partition(".")
    for wrong in ("", ".", name, f"{name}.", f"{name}.{secret[:-1]}", f"{name}.{two.partition('.')[2]}",
                  f".{secret}", one + "x", "\udcff.é"):  # fmt: skip
        assert ins.owner(wrong) is None, wrong
    assert ins.owner(one) == "a", "a wrong one ends nothing"
    assert SignIns(clock).owner(one) is None, "another process knows it not"
    clock.now += SIGNED_IN
    assert ins.owner(one) is None
    clock.now -= SIGNED_IN
    assert ins.owner(one) is None, "it is forgotten"


def test_a_code_is_good_once_and_for_a_minute(clock: Clock) -> None:
    ins = SignIns(clock)
    code = ins.code("a")
    assert ins.owner(code) is None and ins.redeem(ins.begin("a")) is None
    assert (ins.redeem(code), ins.redeem(code)) == ("a", None)
    late = ins.code("a")
    clock.now += CODE
    assert ins.redeem(late) is None


def test_a_key_that_is_taken_back_takes_its_tokens_along(clock: Clock) -> None:
    ins = SignIns(clock)
    kept, gone, code = ins.begin("a"), ins.begin("b"), ins.code("b")
    ins.keep({"a"})
    assert (ins.owner(kept), ins.owner(gone), ins.redeem(code)) == ("a", None, None)
    ins.keep({"a", "b"})
    assert ins.owner(gone) is None, "not even when the key is there again"


def test_only_so_many_are_remembered(clock: Clock) -> None:
    ins = SignIns(clock)
    tokens = [ins.begin("a") for _ in range(1001)]
    assert ins.owner(tokens[0]) is None and ins.owner(tokens[1]) == ins.owner(tokens[-1]) == "a"


def test_who_guesses_waits_longer_and_longer(clock: Clock) -> None:
    ins = SignIns(clock)
    waits = []
    for _ in range(20):
        waits.append(ins.wait("192.0.2.1"))
        clock.now += waits[-1]
        assert ins.wait("192.0.2.1") == 0
        ins.wrong("192.0.2.1")
    assert waits[:9] == [0, 0, 0, 0, 0, 2, 4, 8, 16] and waits[-1] == 300
    assert ins.wait("192.0.2.2") == 0, "others do not wait"
    clock.now -= 4000
    assert ins.wait("192.0.2.1") == 300, "a clock that is set back"
    clock.now += 9000
    ins.wrong("192.0.2.1")
    assert ins.wait("192.0.2.1") == 0, "it was long ago"


def test_a_network_of_addresses_is_one_guesser(clock: Clock) -> None:
    ins = SignIns(clock)
    for n in range(9):
        ins.wrong(f"2001:db8::{n}")
    assert ins.wait("2001:db8::ffff:1") > 0 and ins.wait("2001:db8:0:1::1") == 0
    for n in range(10_100):
        ins.wrong(f"10.0.{n // 256}.{n % 256}")
    assert len(ins._wrong) == 10_000


def test_the_form_needs_nothing_but_itself() -> None:
    body, headers = form('<b>"wrong"', '/picker"><script>')
    text = body.decode()
    assert "<script" not in text and "<b>" not in text and "//" not in re.sub("<!.*", "", text)
    assert html.escape('/picker"><script>') in text
    assert 'type="password"' in text and 'action="/login"' in text and 'method="post"' in text
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'none'" in policy
    assert "form-action 'self'" in policy and "frame-ancestors 'none'" in policy
    assert headers["cache-control"] == "no-store"


def asks(*cookies: str, encrypted: bool = False) -> ClientRequest:
    made = request(*(("Cookie", cookie) for cookie in cookies))
    return msgspec.structs.replace(made, encrypted=encrypted)


def test_a_cookie_is_for_this_chain_and_for_no_script() -> None:
    plain, safe = asks(), asks(encrypted=True)
    assert set_cookie(plain, "a.b", 60) == (
        "interpose-8080=a.b; Path=/; HttpOnly; SameSite=Strict; Max-Age=60"
    )
    assert set_cookie(safe, "a.b", 60) == (
        "__Host-interpose-8080=a.b; Path=/; HttpOnly; SameSite=Strict; Max-Age=60; Secure"
    )
    assert signed_in(asks("x=1; interpose-8080=a.b; y=2")) == "a.b"
    # HTTP/2 may send each in a field of its own.
    assert signed_in(asks("interpose-8080=a.b", "y=2")) == "a.b"
    assert signed_in(asks("interpose-8081=a.b")) == "", "of a chain at another port"
    assert signed_in(asks("interpose-8080=a.b", encrypted=True)) == "", "set over plain HTTP"
    assert signed_in(asks("__Host-interpose-8080=a.b", encrypted=True)) == "a.b"


@pytest.mark.parametrize(
    ("cookies", "left"),
    [
        (("interpose-8080=a.b",), ""),
        (("x=1; interpose-8080=a.b; y=2",), "x=1; y=2"),
        (("x=1", "__Host-interpose-1=a.b"), "x=1"),
        (("x=1; interposed=2",), "x=1; interposed=2"),
    ],
)
def test_no_provider_gets_a_cookie_of_ours(cookies: tuple[str, ...], left: str) -> None:
    got = without_ours(asks(*cookies))
    sent = [v.decode() for k, v in got.fields if k == b"Cookie"]
    assert ("; ".join(sent), got.headers.get("cookie", "")) == (left, left)
    untouched = asks("x=1")
    assert without_ours(untouched) is untouched


HOST = {"host": "box.lan:8443", "content-type": FORM}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"content-type": "application/json"}, 415),
        ({"content-type": "text/plain"}, 415),
    ],
)
def test_only_its_own_form_signs_in(change: dict[str, str], status: int) -> None:
    assert form_of({**HOST, "origin": "https://box.lan:8443"}, b"key=a%20b&next=%2F") == {
        "key": "a b", "next": "/",
    }  # fmt: skip
    with pytest.raises(Refused) as told:
        form_of({**HOST, **change}, b"key=a")
    assert told.value.status == status


@pytest.mark.parametrize(
    ("body", "status"), [(b"x" * 20_000, 413), (b"key=%ff", 400), (b"\xff", 400)]
)
def test_what_is_no_form(body: bytes, status: int) -> None:
    with pytest.raises(Refused) as told:
        form_of(HOST, body)
    assert told.value.status == status
