"""The picker on a real daemon with the real Codex: what is open and what begins goes to the model
that was chosen, by a program or by somebody at a keyboard in a real browser.

INTERPOSE_WRITE_DOCS=1 makes the picture in the docs anew.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from shim.daemon.files import Files
from tests.e2e.answers import responses_text
from tests.e2e.browser import Browser, chromium
from tests.e2e.chain import ROOT, Chain
from tests.e2e.daily import Daily, assert_answered
from tests.e2e.upstreams import Upstream

BINARY = chromium()
PICTURE = ROOT / "docs" / "pictures" / "picker.png"
POLICY = """\
providers:
  up: { base_url: "URL/v1", protocol: responses }
  hosted: { base_url: "http://127.0.0.1:9/v1", protocol: chat, key: "${HOSTED_KEY}" }
models:
  alpha:
    { provider: up, model: vendor/alpha, price: { input: 3, output: 15, cached: 0.3 } }
  beta:
    { provider: up, model: vendor/beta, price: { input: 0.5, output: 2 }, fallbacks: [alpha] }
  gamma: { provider: hosted, model: vendor/gamma, images: false }
default: alpha
"""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream([responses_text("done")]) as made:
        yield made


def models(upstream: Upstream) -> list[str]:
    """What the turns so far were sent as."""
    return [seen.json()["model"] for seen in upstream.posts()]


def begin(daily: Daily, upstream: Upstream) -> None:
    daily.begin(POLICY.replace("URL", upstream.url))


def api(daily: Daily, model: str = "") -> Any:
    url, key = f"http://127.0.0.1:{daily.port}", {"x-api-key": Files(daily.state).kept_key()}
    with httpx.Client(trust_env=False, base_url=url, headers=key) as client:
        if not model:
            return client.get("/api/models").json()
        token = re.search(r'name="token" value="([^"]+)"', client.get("/picker").text)
        assert token
        headers = {"x-interpose-token": token[1]}
        done = client.post("/api/switch", json={"model": model}, headers=headers)
        assert done.status_code == 200, done.text
        return done.json()


def asked(daily: Daily) -> str:
    return str(tomllib.loads(daily.config.read_text())["model"])


def resume(daily: Daily, model: str) -> None:
    """A turn more of the session before, which goes on asking for its model."""
    words = ["-m", model, "exec", "resume", "--last", "--json", "--skip-git-repo-check", "more"]
    assert_answered(daily.codex(*words), "done")


@pytest.mark.full
def test_what_is_open_and_what_begins(daily: Daily, upstream: Upstream) -> None:
    begin(daily, upstream)
    daily.enable()
    assert_answered(daily.ask(), "done")
    told = api(daily, "beta")
    said = " ".join(told["says"])
    assert "Sessions already open that ask for alpha go on with beta now." in said
    assert "New sessions of Codex ask for beta (~/.codex/config.toml)." in said
    assert asked(daily) == "beta"
    resume(daily, "alpha")
    assert_answered(daily.ask(), "done")
    # A session that begins now and asks for alpha means it.
    assert_answered(daily.ask("-m", "alpha"), "done")
    assert models(upstream) == [f"vendor/{name}" for name in ("alpha", "beta", "beta", "alpha")]


@pytest.mark.full
def test_the_command_and_the_page_are_one(daily: Daily, upstream: Upstream) -> None:
    begin(daily, upstream)
    daily.enable()
    assert_answered(daily.ask(), "done")
    done = daily.run("model", "use", "beta")
    assert f"from its next session on ({daily.config})" in done.stdout
    assert "Sessions already open go on with beta, where they ask for alpha" in done.stdout
    assert api(daily)["chosen"] == "beta"
    # It stays so when the daemon is another one.
    assert daily.run("restart").returncode == 0
    resume(daily, "alpha")
    assert models(upstream) == ["vendor/alpha", "vendor/beta"]
    assert api(daily, "gamma")["codex"]["asks_for"] == "gamma"
    assert re.search(r"^\* gamma", daily.run("model", "list").stdout, re.M)
    # Codex's config was left, and comes back with what was used last.
    assert daily.run("disable").returncode == 0
    assert "run interpose enable" in " ".join(api(daily)["says"])
    daily.enable()
    assert asked(daily) == "gamma"
    assert daily.run("uninstall").returncode == 0 and not daily.state.exists()


def test_a_config_that_is_broken_is_left_alone_and_named(daily: Daily, upstream: Upstream) -> None:
    begin(daily, upstream)
    daily.enable()
    daily.config.write_bytes(daily.config.read_bytes() + b"= broken\n")
    with pytest.raises(AssertionError, match=r"config.toml:\d+:\d+: "):
        api(daily, "beta")
    assert api(daily)["chosen"] == "alpha"


@pytest.mark.full
def test_without_the_daemon_it_is_kept_in_memory(upstream: Upstream) -> None:
    policy = POLICY.replace("URL", upstream.url)
    with Chain(policy=policy) as chain:
        page = chain.get("/picker").text
        token = re.search(r'name="token" value="([^"]+)"', page)
        assert token and "keeps a switch in its memory" in page
        form = {"model": "beta", "token": token[1]}
        assert chain.post("/api/switch", data=form).status_code == 303
        for model in ("alpha", "gpt-5.5", "beta"):
            turn = {"model": model, "input": "hi"}
            assert chain.post("/v1/responses", json=turn).status_code == 200
    assert models(upstream) == ["vendor/beta"] * 3
    with Chain(policy=policy) as chain:
        assert chain.get("/api/models").json()["chosen"] == "alpha"


def press(browser: Browser, key: str, code: int, text: str = "") -> None:
    typed = {"key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}
    browser.call("Input.dispatchKeyEvent", type="keyDown", **typed)
    browser.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)


def focus(browser: Browser) -> str:
    """The accessible name of what has the focus, as a screen reader has it, and its role."""
    for node in browser.call("Accessibility.getFullAXTree")["nodes"]:
        facts = {p["name"]: p["value"].get("value") for p in node.get("properties", [])}
        if facts.get("focused") and node["role"]["value"] != "RootWebArea":
            # Some versions of Chromium tell the space before a label's text, too.
            return f"{node['role']['value']}: {node.get('name', {}).get('value', '').strip()}"
    return ""


@pytest.mark.full
@pytest.mark.skipif(not BINARY, reason="no Chromium: apt-get install chromium, or CHROMIUM=…")
def test_by_keyboard_in_a_real_browser(daily: Daily, upstream: Upstream) -> None:
    begin(daily, upstream)
    daily.enable()
    assert_answered(daily.ask(), "done")
    assert BINARY
    with Browser(BINARY, 1120, 640) as browser:
        browser.call("Log.enable")
        # Nothing on it needs a script.
        browser.call("Emulation.setScriptExecutionDisabled", value=True)
        browser.open(daily.run("open", "picker", "--print").stdout.strip())
        browser.wait("document.title.startsWith('alpha answers')")
        browser.wait("!!document.querySelector('input[value=alpha]:checked')")
        for _ in range(9):
            press(browser, "Tab", 9)
            if focus(browser).startswith("radio"):
                break
        assert focus(browser) == "radio: alpha"
        press(browser, "ArrowDown", 40)
        assert focus(browser) == "radio: beta"
        press(browser, "Tab", 9)
        assert focus(browser) == "button: Switch"
        press(browser, "Enter", 13, "\r")
        browser.wait("document.title.startsWith('Switched to beta')")
        assert browser.run("location.pathname") == "/picker"
        browser.wait("document.activeElement.id === 'said'")
        shown = browser.run("document.body.innerText")
        assert "Sessions already open that ask for alpha go on with beta now." in shown
        assert "the variable HOSTED_KEY is not set" in shown
        browser.wait("!!document.querySelector('input[value=beta]:checked')")
        # Its style is let in, by its hash.
        style = "getComputedStyle(document.querySelector('#said')).borderLeftStyle"
        assert browser.run(style) == "solid"
        picture(browser)
    resume(daily, "alpha")
    assert_answered(daily.ask(), "done")
    assert models(upstream) == ["vendor/alpha", "vendor/beta", "vendor/beta"]


@pytest.mark.full
@pytest.mark.skipif(not BINARY, reason="no Chromium: apt-get install chromium, or CHROMIUM=…")
def test_a_page_of_another_site_in_a_real_browser(upstream: Upstream) -> None:
    """It can send a form there, and is refused; it can neither read nor frame the page."""
    assert BINARY
    with Chain(policy=POLICY.replace("URL", upstream.url)) as chain:
        form = (
            f"<form method=post action='{chain.origin}/api/switch'>"
            "<input name=model value=beta></form>"
        )
        with Browser(BINARY) as browser:
            frame = f"<iframe src='{chain.origin}/picker'></iframe>"
            browser.open(f"data:text/html,<title>evil</title>{form}{frame}")
            browser.wait("document.title === 'evil' && !!document.forms[0]")
            browser.run(
                f"fetch('{chain.origin}/picker').then(a => a.text())"
                ".then(t => { window.read = t }, e => { window.read = 'refused' })"
            )
            assert browser.wait("window.read") == "refused"
            browser.run("document.forms[0].submit()")
            browser.wait("document.body.innerText.includes('other sites are not served')")
        assert chain.get("/api/models").json()["chosen"] == "alpha"


def picture(browser: Browser) -> None:
    if os.environ.get("INTERPOSE_WRITE_DOCS"):
        PICTURE.parent.mkdir(exist_ok=True)
        browser.picture(PICTURE)
    assert PICTURE.stat().st_size > 10_000
