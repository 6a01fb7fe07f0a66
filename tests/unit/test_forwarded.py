"""Whom a trusted proxy is believed to ask for, and what a client can write into its headers."""

from __future__ import annotations

import msgspec
import pytest

from shim.exchange.access import Door
from shim.exchange.forwarded import forwarded, networks
from shim.exchange.replies import refusal
from shim.exchange.values import Access, ClientRequest, Fields, Reply
from shim.policy.schema import Policy

PROXIES = networks(["127.0.0.1", "10.0.0.0/8", "fd00::/8"])
FAR = "203.0.113.9"


def request(
    *fields: tuple[str, str], peer: str = "127.0.0.1", host: str = "box.lan"
) -> ClientRequest:
    raw: Fields = tuple((k.encode(), v.encode()) for k, v in (("Host", host), *fields))
    return ClientRequest(
        id="x", method="GET", scheme="http", host="", port=0, authority=host, path="/metrics",
        http_version="HTTP/1.1", fields=raw, headers={k.lower(): v for k, v in (("Host", host), *fields)},
        peer=peer, local=("http", "10.0.0.1", 8080), reverse=("http", "127.0.0.1", 9), started=0.0,
    )  # fmt: skip


def seen(*values: str, peer: str = "127.0.0.1") -> str:
    fields = [("X-Forwarded-For", value) for value in values]
    return forwarded(request(*fields, peer=peer), PROXIES).peer


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ((), "127.0.0.1"),
        ((FAR,), FAR),
        # What the client wrote itself stands before what the proxy has added.
        (("127.0.0.1", FAR), FAR),
        ((f"127.0.0.1, 10.1.1.1, {FAR}",), FAR),
        ((f"127.0.0.1,{FAR}", "10.2.2.2"), FAR),
        ((f"{FAR}, 198.51.100.1",), "198.51.100.1"),
        ((f"{FAR}, 10.2.2.2, 10.3.3.3",), FAR),
        (("10.2.2.2, 10.3.3.3",), "10.2.2.2"),
        ((f"{FAR}:4711",), FAR),
        (("[2001:db8::1]:443",), "2001:db8::1"),
        (("2001:db8:0::1",), "2001:db8::1"),
        (("::ffff:203.0.113.9",), FAR),
        # No address: nobody's, and no other name of loopback.
        (("localhost",), "unknown"),
        (("127.0.0.1, unknown",), "unknown"),
        (("127.0.0.1, 127.1",), "unknown"),
        (("", " , "), "127.0.0.1"),
    ],
)
def test_the_last_address_that_is_no_proxys(values: tuple[str, ...], client: str) -> None:
    assert seen(*values) == client


def test_who_is_no_trusted_proxy_is_not_believed() -> None:
    more = [("X-Forwarded-For", FAR), ("X-Forwarded-Host", "other"), ("X-Forwarded-Proto", "https")]
    for peer in ("192.0.2.1", "11.0.0.1", "::1", ""):
        asked = request(*more, peer=peer)
        assert forwarded(asked, PROXIES) is asked
    asked = request(*more)
    assert forwarded(asked, ()) is asked


def test_host_and_protocol_are_those_of_the_nearest_proxy() -> None:
    more = [
        ("X-Forwarded-Host", "a, b.lan:8443"),
        ("x-forwarded-proto", "http"),
        ("X-Forwarded-Proto", "HTTPS"),
    ]
    got = forwarded(request(*more, peer="::ffff:10.9.9.9"), PROXIES)
    assert (got.authority, got.encrypted) == ("b.lan:8443", True)
    plain = forwarded(msgspec.structs.replace(request(), encrypted=True), PROXIES)
    assert (plain.authority, plain.encrypted) == ("box.lan", True)


def test_what_is_no_address_is_named() -> None:
    assert networks([]) == () and len(networks([" 10.0.0.1/8 ", "::1"])) == 2
    for wrong in ("proxy.lan", "10.0.0.0/33", "", "10.0.0.1:80"):
        with pytest.raises(ValueError, match="is no address and no network"):
            networks([wrong])


def admitted(asked: ClientRequest, **door: object) -> Access | Reply:
    made = Door(("right-key",), frozenset({"box.lan", "b.lan"}), proxies=PROXIES)
    return msgspec.structs.replace(made, **door).admit(asked, Policy())


KEY = ("Authorization", "Bearer right-key")


@pytest.mark.parametrize(
    ("host", "told", "allowed"),
    [
        ("box.lan", "box.lan", True),
        ("127.0.0.1:8080", "b.lan:8443", True),
        ("box.lan", "evil.example", False),
        # A page by a foreign name can have that header sent, but not another Host.
        ("evil.example", "box.lan", False),
        ("evil.example", "127.0.0.1", False),
        ("evil.example:8080", "", False),
    ],
)
def test_every_name_has_to_be_served(host: str, told: str, allowed: bool) -> None:
    fields = [KEY, *([("X-Forwarded-Host", told)] if told else [])]
    got = admitted(request(*fields, host=host))
    assert isinstance(got, Access) is allowed
    if isinstance(got, Reply):
        assert got.status == 403 and b"evil.example" in got.body


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://b.lan:8443", True),
        ("https://box.lan", True),
        ("http://127.0.0.1:1", True),
        ("https://evil.example", False),
        ("null", False),
    ],
)
def test_the_origin_is_measured_by_the_forwarded_host(origin: str, allowed: bool) -> None:
    fields = [KEY, ("X-Forwarded-Host", "b.lan:8443"), ("Origin", origin)]
    assert isinstance(admitted(request(*fields, host="127.0.0.1:8080")), Access) is allowed


def test_a_page_at_the_address_that_was_called_is_of_the_same_site() -> None:
    own = request(KEY, ("Origin", "http://10.0.0.1:8080"), host="10.0.0.1:8080")
    assert isinstance(admitted(own), Access)
    other = request(KEY, ("Origin", "http://10.0.0.1:9090"), host="10.0.0.1:8080")
    assert isinstance(admitted(other), Reply)


def test_without_client_keys_a_proxy_brings_nobody_from_elsewhere() -> None:
    here = request(("X-Forwarded-For", "127.0.0.1"))
    assert isinstance(admitted(here, keys=None), Access)
    far = admitted(request(("X-Forwarded-For", FAR)), keys=None)
    assert far == refusal("/metrics", 403, "without client_keys only this machine is served")
    # Nobody is believed: then it is as it was before.
    assert isinstance(admitted(request(("X-Forwarded-For", FAR)), keys=None, proxies=()), Access)
