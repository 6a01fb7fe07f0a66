"""The chain behind a real HAProxy (and Caddy) with TLS on one machine: strangers get nothing."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shim.exchange.access import PAGES
from tests.e2e.answers import SSE, chat_text
from tests.e2e.browser import Browser, chromium
from tests.e2e.chain import Chain, poll
from tests.e2e.proxies import HOST, Front
from tests.e2e.upstreams import Answer, Seen, Upstream

pytestmark = pytest.mark.full

KEY, OTHER = "client-key-0123456789", "client-key-of-another-1"
POLICY = """
websocket: true
duplicates: refuse
providers: { up: { base_url: "URL/v1", protocol: chat } }
models: { m: { provider: up } }
default: m
"""
STATES = {"/health", "/health/live", "/health/ready"}


class Slow:
    """An upstream that answers when it may."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.go_on.set()

    def script(self, seen: Seen) -> Answer:
        text = chat_text("hello").chunks

        def live() -> Iterator[bytes]:
            self.go_on.wait(30)
            yield from text

        return Answer(200, SSE, live=live)


@pytest.fixture(scope="module", params=["haproxy", "caddy"])
def front(
    request: pytest.FixtureRequest, tmp_path_factory: Any
) -> Iterator[tuple[Front, Chain, Slow]]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    keys = folder / "keys"
    keys.write_text(f"{KEY}\n{OTHER}\n")
    slow = Slow()
    options = {"trusted_proxies": "127.0.0.1", "served_hosts": HOST}
    with Upstream(slow.script) as upstream:
        policy = POLICY.replace("URL", upstream.url)
        env = {"INTERPOSE_CLIENT_KEYS_FILE": str(keys)}
        with Chain(policy=policy, options=options, env=env) as chain:
            chain.keys_file = keys  # type: ignore[attr-defined]
            with Front(request.param, chain.port, folder) as made:
                yield made, chain, slow
            assert "Traceback" not in chain.log()


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_for_those_with_a_key(front: tuple[Front, Chain, Slow], path: str) -> None:
    made, chain, _ = front
    for method in PAGES[path].methods:
        # A page that changes something wants its token and a body besides.
        good = {"GET": (200, 303), "POST": (400, 403, 415)}[method]
        spoofed = {"x_forwarded_for": "127.0.0.1", "x_forwarded_host": "127.0.0.1"}
        for stranger in (
            made.client(),
            made.client("127.0.0.2"),
            made.client("127.0.0.2", **spoofed),
        ):
            with stranger:
                got = stranger.request(method, path)
                if path in STATES:
                    assert got.status_code == 200 and got.json().keys() == {"status"}
                elif path == "/login" and method == "POST":
                    assert got.status_code == 415 and "set-cookie" not in got.headers
                else:
                    assert got.status_code == 401, got.text
        for proof in ({"authorization": f"Bearer {KEY}"}, {"x_api_key": OTHER}):
            with made.client(**proof) as known:
                got = known.request(method, path)
                assert got.status_code in good, got.text
    # Past the proxy it is the same.
    if path not in STATES and path != "/login":
        assert chain.get(path).status_code == chain.post(path).status_code == 401


def test_a_turn_needs_a_key_and_a_stranger_can_switch_nothing(
    front: tuple[Front, Chain, Slow],
) -> None:
    made, _, _ = front
    turn = {"model": "m", "input": "hello"}
    with made.client() as stranger, made.client(x_api_key=KEY) as known:
        assert stranger.post("/v1/responses", json=turn).status_code == 401
        assert stranger.post("/api/switch", json={"model": "m"}).status_code == 401
        assert (
            known.post("/v1/responses", json=turn).json()["output"][-1]["content"][0]["text"]
            == "hello"
        )
        token = re.search(r'name="token" value="([^"]+)"', known.get("/picker").text)
        assert token
        headers = {"x-interpose-token": token[1]}
        assert stranger.post("/api/switch", json={"model": "m"}, headers=headers).status_code == 401
        assert known.post("/api/switch", json={"model": "m"}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [(HOST, 200), ("127.0.0.1", 200), ("evil.example", 403), (f"{HOST}.evil", 403)],
)
def test_the_name_by_which_it_is_called(
    front: tuple[Front, Chain, Slow], host: str, status: int
) -> None:
    made, _, _ = front
    with made.client(x_api_key=KEY) as known:
        for more in ({}, {"x-forwarded-host": "127.0.0.1"}, {"x-forwarded-host": HOST}):
            named = {"host": f"{host}:{made.port}", **more}
            got = known.get("/dashboard", headers=named)
            if status == 403 and made.name == "caddy":
                assert not got.text, "Caddy itself answers that, with nothing"
            else:
                assert got.status_code == status
    # A page by a foreign name, straight to the chain: it may say what it likes in that header.
    chain = front[1]
    direct = {"host": "evil.example", "x-forwarded-host": HOST, "x-api-key": KEY}
    assert chain.get("/dashboard", headers=direct).status_code == 403


def test_form_cookie_page(front: tuple[Front, Chain, Slow]) -> None:
    made, chain, _ = front
    with made.client(accept="text/html") as browser:
        form = browser.get("/picker")
        assert form.status_code == 401 and 'action="/login"' in form.text
        fields = {"key": KEY, "next": "/picker"}
        foreign = browser.post("/login", data=fields, headers={"origin": "https://evil.example"})
        assert foreign.status_code == 403 and not browser.cookies
        wrong = browser.post(
            "/login", data={**fields, "key": "wrong"}, headers={"origin": made.url}
        )
        assert wrong.status_code == 401 and "none of the chain" in wrong.text
        done = browser.post("/login", data=fields, headers={"origin": made.url})
        assert (done.status_code, done.headers["location"]) == (303, "/picker")
        given = done.headers["set-cookie"]
        assert "Secure" in given and "HttpOnly; SameSite=Strict" in given and KEY not in given
        assert browser.get("/picker").status_code == 200
        plain = {"cookie": given.partition(";")[0]}
        assert chain.get("/picker", headers=plain).status_code == 401


def turn_from(made: Front, address: str, results: list[int], **headers: str) -> threading.Thread:
    def ask() -> None:
        with made.client(address, **headers) as client:
            results.append(
                client.post("/v1/responses", json={"model": "m", "input": "same"}).status_code
            )

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return thread


def test_two_clients_behind_it_are_told_apart(front: tuple[Front, Chain, Slow]) -> None:
    """The policy refuses duplicates: what one client asks twice at once, and no two clients."""
    made, chain, slow = front
    first, again = {"x_api_key": KEY}, {"x_api_key": OTHER}
    results: list[int] = []
    slow.go_on.clear()
    try:
        asked = [
            turn_from(made, address, results, **key)
            for address, key in (("127.0.0.2", first), ("127.0.0.3", first), ("127.0.0.2", again))
        ]

        def under_way() -> bool:
            page = chain.get("/health?live=1", headers={"x-api-key": KEY}).json()
            return len(page["under_way"]) == 3

        poll(under_way, 20, "three turns under way")
        twice: list[int] = []
        turn_from(made, "127.0.0.3", twice, **first, x_forwarded_for="192.0.2.1").join(20)
        assert twice == [409] and not results
    finally:
        slow.go_on.set()
    for thread in asked:
        thread.join(20)
    assert results == [200, 200, 200]


def test_a_removed_key_is_refused_and_its_cookie_and_socket_end(
    front: tuple[Front, Chain, Slow],
) -> None:
    from wsproto.events import CloseConnection

    from tests.e2e.test_websocket import Client, create

    made, chain, _ = front
    keys: Path = chain.keys_file  # type: ignore[attr-defined]
    with made.client(accept="text/html") as browser, made.client(x_api_key=OTHER) as program:
        browser.post("/login", data={"key": OTHER}, headers={"origin": made.url})
        assert browser.get("/dashboard").status_code == program.get("/metrics").status_code == 200
        with (
            Client(made, ("x-api-key", OTHER), tls=made.tls()) as gone,
            Client(made, ("x-api-key", KEY), tls=made.tls()) as stays,
        ):
            assert gone.events(create("one"))[-1]["type"] == "response.completed"
            try:
                keys.write_text(f"{KEY}\n")
                began = time.monotonic()
                poll(lambda: program.get("/metrics").status_code == 401, 5, "the key's refusal")
                assert browser.get("/dashboard").status_code == 401
                assert (
                    program.post("/v1/responses", json={"model": "m", "input": "x"}).status_code
                    == 401
                )
                closed = gone.receive()
                assert isinstance(closed, CloseConnection) and closed.code == 1008
                assert time.monotonic() - began < 5
                assert stays.events(create("two"))[-1]["type"] == "response.completed"
            finally:
                keys.write_text(f"{KEY}\n{OTHER}\n")
        poll(lambda: program.get("/metrics").status_code == 200, 5, "the key's return")
        assert browser.get("/dashboard").status_code == 401, "it has to sign in anew"


def signed_in(browser: Browser, made: Front) -> list[dict[str, Any]]:
    """The cookies of ours that the browser holds."""
    found = browser.call("Network.getCookies", urls=[made.url])["cookies"]
    return [c for c in found if "interpose-" in c["name"]]


def at(browser: Browser) -> list[str]:
    return [entry["url"] for entry in browser.call("Page.getNavigationHistory")["entries"]]


def type_key(browser: Browser, key: str) -> None:
    browser.call("Input.insertText", text=key)
    browser.press("Enter", 13, "\r")


def test_in_a_real_browser(front: tuple[Front, Chain, Slow]) -> None:
    binary = chromium()
    assert binary, "no Chromium: apt-get install chromium, or CHROMIUM=…"
    made, _, _ = front
    with Browser(binary) as browser:
        browser.call("Security.setIgnoreCertificateErrors", ignore=True)
        # Nothing on the form needs a script.
        browser.call("Emulation.setScriptExecutionDisabled", value=True)
        browser.open(f"{made.url}/picker")
        browser.wait("document.title.startsWith('Sign in')")
        browser.wait("document.activeElement?.id === 'key'")
        type_key(browser, "wrong")
        browser.wait("document.body?.innerText.includes('none of the chain')")
        assert not signed_in(browser, made)
        browser.wait("document.activeElement?.id === 'key'")
        type_key(browser, KEY)
        browser.wait("!!document.querySelector('input[name=model][value=m]')")
        (cookie,) = signed_in(browser, made)
        assert cookie["httpOnly"] and cookie["secure"] and cookie["sameSite"] == "Strict"
        assert cookie["name"].startswith("__Host-") and KEY not in json.dumps(cookie)
        assert 11 * 3600 < cookie["expires"] - time.time() <= 12 * 3600
        assert browser.run("location.pathname") == "/picker"
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
        # The dashboard's script goes on with the cookie.
        browser.open(f"{made.url}/dashboard")
        browser.wait("!document.querySelector('#pause')?.hidden")
        browser.wait("document.querySelector('#said')?.textContent.includes('rrors')")
        # Another site sends a form there: the cookie does not go along.
        browser.open("data:text/html,<title>evil</title>")
        browser.wait("document.title === 'evil'")
        form = f"<form method=post action='{made.url}/api/switch'><input name=model value=m></form>"
        browser.run(f"document.body.innerHTML = `{form}`; document.forms[0].submit()")
        browser.wait("document.body?.innerText.includes('other sites are not served')")
        assert not [url for url in at(browser) if KEY in url]


def test_a_code_in_a_real_browser(front: tuple[Front, Chain, Slow]) -> None:
    binary = chromium()
    assert binary, "no Chromium: apt-get install chromium, or CHROMIUM=…"
    made, _, _ = front
    with made.client(x_api_key=KEY) as known, Browser(binary) as browser:
        browser.call("Security.setIgnoreCertificateErrors", ignore=True)
        path = known.post("/api/login-code", json={"page": "/picker"}).json()["path"]
        browser.open(f"{made.url}{path}")
        browser.wait("!!document.querySelector('input[name=model][value=m]')")
        assert browser.run("location.href") == f"{made.url}/picker"
        assert not [url for url in at(browser) if "token" in url], "it is not in the history"
        assert len(signed_in(browser, made)) == 1
    with Browser(binary) as another:
        another.call("Security.setIgnoreCertificateErrors", ignore=True)
        another.open(f"{made.url}{path}")
        another.wait("document.body?.innerText.includes('good once and for a minute')")
        assert not signed_in(another, made)


def test_nothing_of_a_key_is_in_the_chains_log(front: tuple[Front, Chain, Slow]) -> None:
    _, chain, _ = front
    for path in chain.folder.rglob("*"):
        if path.is_file() and path.name != "policy.yaml":
            assert KEY.encode() not in path.read_bytes() and OTHER.encode() not in path.read_bytes()


def test_the_documented_options_are_those_of_this_test() -> None:
    from tests.e2e.chain import ROOT

    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    (line,) = re.findall(r"^mitmdump .*trusted_proxies.*$", page, re.M)
    assert "--set trusted_proxies=127.0.0.1" in line and f"--set served_hosts={HOST}" in line
    assert httpx.URL(f"https://{HOST}").host == HOST
