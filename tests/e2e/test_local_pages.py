"""Every page for this machine, against what a web page or a neighbour may try to get at it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest

from shim.exchange.access import PAGES
from tests.e2e.chain import Chain

#: What they answer to an empty request, where that is not what is asked for.
OTHERWISE = {"/api/switch": 415, "/api/login-code": 400, "/login": 303}
POLICY = """
models:
  one: { provider: demo }
  two: { provider: demo }
default: one
"""
TRICKS = [
    "{page}/../..",
    "/x/..{page}",
    "/v1/../{name}",
    "/./{name}",
    "/{page}",
    "//127.0.0.1{page}",
    "{page}/",
    "{page}//",
    "{page}%00",
    "{page}%2e%2e/",
    "/%2e%2e{page}",
    "/%2e%2e%2f{name}",
    "{page}\\..\\..",
    "\\{name}",
    "/v1{page}",
    "{page};a=b",
    "{page}.html",
    "/%{first:02x}{rest}",
    "{upper}",
    "{page}" + "/a" * 20_000,
    "/" + "a" * 60_000 + "{page}",
]


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    with Chain(policy=POLICY, options={"served_hosts": "box.example"}) as running:
        yield running
        assert "Traceback" not in running.log()


def method(page: str) -> str:
    return PAGES[page].methods[0]


def token(chain: Chain) -> str:
    found = re.search(r'name="token" value="([^"]+)"', chain.get("/picker").text)
    assert found
    return found[1]


def raw(chain: Chain, line: bytes, *headers: str) -> int:
    """The status of an answer to exactly that request line; 0 when the connection is closed."""
    named = any(header.startswith("Host:") for header in headers)
    host = [] if named else [f"Host: 127.0.0.1:{chain.port}"]
    lines = [line, *(h.encode() for h in [*host, "Connection: close", *headers]), b"", b""]
    with socket.create_connection(("127.0.0.1", chain.port), timeout=20) as connection:
        connection.sendall(b"\r\n".join(lines))
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
    found = re.match(rb"HTTP/1\.[01] (\d+) ", answer)
    return int(found[1]) if found else 0


@pytest.mark.parametrize("page", PAGES)
def test_path_tricks(chain: Chain, page: str) -> None:
    name = page[1:]
    names = {
        "page": page, "name": name, "upper": page.upper(),
        "first": ord(name[0]), "rest": name[1:],
    }  # fmt: skip
    secret = f"x-interpose-token: {token(chain)}"
    as_page = raw(chain, f"{method(page)} {page} HTTP/1.1".encode(), secret)
    assert as_page == OTHERWISE.get(page, 200)
    for trick in TRICKS:
        path = trick.format(**names)
        if path.rstrip("/").endswith("/models") and path != f"{page}/..":
            continue  # the list for clients, which is there under any prefix
        line = f"{method(page)} {path} HTTP/1.1".encode()
        assert raw(chain, line, secret) in (0, 400, 404), path
    for odd in (b"\0", b"\xff", b"\xed\xa0\x80"):
        line = f"{method(page)} {page}".encode() + odd + b" HTTP/1.1"
        assert raw(chain, line, secret) in (0, 400, 404), line
    assert now(chain) == "one"


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "0.0.0.0", "169.254.169.254",
     "2130706433", "127.0.0.1@evil.example", "localhost.evil.example", ""],
)  # fmt: skip
@pytest.mark.full
def test_a_foreign_name_that_leads_here(chain: Chain, page: str, host: str) -> None:
    """DNS rebinding: the browser takes the page for one of the same origin and sends no Origin."""
    line = f"{method(page)} {page} HTTP/1.1".encode()
    assert raw(chain, line, f"Host: {host}", f"x-interpose-token: {token(chain)}") in (400, 403)
    line = f"{method(page)} http://evil.example{page} HTTP/1.1".encode()
    assert raw(chain, line, "Host: evil.example") in (400, 403)


@pytest.mark.parametrize("page", ["/picker", "/api/models", "/api/switch"])
def test_the_picker_has_no_name_but_loopbacks(chain: Chain, page: str) -> None:
    """What is served to others by a proxy in front of the chain is not for them to switch."""
    line = f"{method(page)} {page} HTTP/1.1".encode()
    assert raw(chain, line, "Host: box.example", f"x-interpose-token: {token(chain)}") == 403
    assert chain.get("/dashboard", headers={"host": "box.example"}).status_code == 200


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    "origin", ["null", "https://evil.example", "file://", "http://127.0.0.1.evil.example"]
)
def test_a_page_of_another_site(chain: Chain, page: str, origin: str) -> None:
    line = f"{method(page)} {page} HTTP/1.1".encode()
    assert raw(chain, line, f"Origin: {origin}", f"x-interpose-token: {token(chain)}") == 403


@pytest.mark.parametrize("page", PAGES)
def test_other_methods(chain: Chain, page: str) -> None:
    for word in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"):
        if word not in PAGES[page].methods:
            assert raw(chain, f"{word} {page} HTTP/1.1".encode(), "Content-Length: 0") == 405
    # A GET that looks like a switch is none.
    assert chain.get(f"/picker?model=two&token={token(chain)}").status_code == 200
    assert now(chain) == "one"


def now(chain: Chain) -> str:
    return str(chain.get("/api/models").json()["chosen"])


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"x-interpose-token": None}, 403),
        ({"x-interpose-token": "of another process"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:1"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"host": "evil.example"}, 403),
    ],
)
def test_a_switch_that_is_refused(chain: Chain, change: dict[str, str | None], status: int) -> None:
    headers = {"x-interpose-token": token(chain), "content-type": "application/json", **change}
    sent = {k: v for k, v in headers.items() if v is not None}
    answer = chain.post("/api/switch", content=b'{"model": "two"}', headers=sent)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"] and now(chain) == "one"


def test_the_token_of_another_chain(chain: Chain) -> None:
    with Chain(policy=POLICY) as other:
        theirs = token(other)
        assert theirs != token(chain)
        headers = {"x-interpose-token": theirs}
        answer = chain.post("/api/switch", json={"model": "two"}, headers=headers)
        assert answer.status_code == 403 and now(chain) == "one"
        assert other.post("/api/switch", json={"model": "two"}, headers=headers).status_code == 200
        assert now(other) == "two"
        # By the form, the page is there again and says why.
        page = chain.post("/api/switch", data={"model": "two", "token": theirs})
        assert page.status_code == 403 and "Nothing was switched" in page.text
        assert token(chain) in page.text and now(chain) == "one"


def test_a_cross_site_post_of_a_turn(chain: Chain) -> None:
    turn = {"model": "one", "input": "hello"}
    answer = chain.post("/v1/responses", json=turn, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
