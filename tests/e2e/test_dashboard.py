"""The dashboard as a real browser shows it: up to date, by keyboard, by screen reader, alone.

INTERPOSE_WRITE_DOCS=1 writes the picture in the docs anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.browser import Browser, chromium
from tests.e2e.chain import ROOT, Chain, poll
from tests.e2e.live_work import LONG, SHORT, SLOW, Held, at_work, turn, work

PICTURE = ROOT / "docs" / "pictures" / "dashboard.png"
BINARY = chromium()
TAB, SPACE, ENTER, DOWN = ("Tab", 9), (" ", 32, " "), ("Enter", 13, "\r"), ("ArrowDown", 40)
CONTROLS = "[...document.querySelectorAll('a, button, select, summary, [tabindex]')]"
#: The table `id` as rows of texts, its head first; what is not shown has none.
TABLE = "[...document.querySelectorAll('#{} tr')].map(r => [...r.cells].map(c => c.textContent))"
BARS = "[...document.querySelectorAll('#{}-bars rect')].filter(r => r.getBBox().height > 0)"
NASTY = "<img src=x onerror='window.hacked=1'><script>window.hacked=2</script>"

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not BINARY, reason="no Chromium: apt-get install chromium, or CHROMIUM=…"),
]


@pytest.fixture(scope="module")
def busy() -> Iterator[tuple[Chain, Held]]:
    with at_work() as (chain, held):
        work(chain)
        yield chain, held


@pytest.fixture
def browser() -> Iterator[Browser]:
    assert BINARY
    with Browser(BINARY, 1180, 1400) as made:
        made.call("Network.enable")
        yield made


def look(browser: Browser, chain: Chain, query: str = "") -> None:
    browser.open(f"{chain.origin}/dashboard{query}")
    # A bar is drawn by what was fetched.
    browser.wait(f"document.readyState == 'complete' && {BARS.format('minutes')}.length > 0")


def row(browser: Browser, table: str, column: str, at: int = 0) -> str:
    head, *rows = browser.run(TABLE.format(table))
    return str(rows[at][head.index(column)])


def test_numbers_follow_a_turn_and_the_plots_have_bars(browser: Browser) -> None:
    with at_work() as (chain, held):
        browser.open(f"{chain.origin}/dashboard")
        browser.wait("document.querySelector('#minutes-most')?.textContent == 'none yet'")
        with held.streaming(chain):
            browser.wait(f"{TABLE.format('under_way')}.length == 2")
            seen = browser.run(TABLE.format("under_way"))[1]
            assert seen[:4] == [SLOW, "big", "slow/big", "streaming"]
            browser.wait(f"parseInt({TABLE.format('under_way')}[1][4]) >= 1")
            assert row(browser, "totals", "under way") == "1"
            assert row(browser, "totals", "turns") == "0"
            held.go_on.set()
            browser.wait(f"{TABLE.format('totals')}[1][2] == '1'")
        browser.wait(f"{BARS.format('turns')}.length == 2")
        assert row(browser, "totals", "input") == "1,200"
        assert row(browser, "turns", "output") == "30"
        assert "1,230 tokens" in browser.run("document.querySelector('#turns-says').textContent")
        assert browser.run("document.querySelector('#under_way').hidden")
        turn(chain, SLOW, "lost")
        browser.wait("document.querySelector('#said').textContent.startsWith('Errors: 1;')")
        # Where the chain is gone it says so, and keeps what it had.
        chain.stop()
        browser.wait("document.querySelector('#said').textContent.startsWith('No chain answers')")
        assert row(browser, "totals", "turns") == "1"


def test_a_session_is_chosen_and_the_plot_is_its_own(
    browser: Browser, busy: tuple[Chain, Held]
) -> None:
    chain, _ = busy
    look(browser, chain)
    browser.wait(f"{TABLE.format('turns')}.length >= 13")
    for session, turns in ((LONG, 8), (SHORT, 4)):
        browser.run(f"s = document.querySelector('select'); s.value = '{session}'; "
                    "s.dispatchEvent(new Event('change'))")  # fmt: skip
        browser.wait(f"{TABLE.format('turns')}.length == {turns + 1}")
        assert {line[0] for line in browser.run(TABLE.format("turns"))[1:]} == {session}
        browser.wait(f"document.querySelector('#turns-told').textContent == 'turns 1 to {turns}'")
    look(browser, chain, f"?session={LONG}")
    browser.wait(f"{TABLE.format('turns')}.length == 9")
    kinds = set(browser.run(f"{BARS.format('turns')}.map(r => r.getAttribute('class'))"))
    assert kinds == {"full", "cached", "output", "saved"}


def test_by_keyboard_alone(browser: Browser, busy: tuple[Chain, Held]) -> None:
    chain, _ = busy
    look(browser, chain)
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    wanted = browser.run(f"{CONTROLS}.length")
    reached = set()
    for _ in range(wanted):
        browser.press(*TAB)
        at = browser.run(f"{CONTROLS}.indexOf(document.activeElement)")
        assert at >= 0
        reached.add(at)
        style = browser.run(
            "(s => [s.outlineStyle, parseFloat(s.outlineWidth), s.outlineColor])"
            "(getComputedStyle(document.activeElement))"
        )
        assert style[0] == "solid" and style[1] >= 2 and "0)" not in style[2], (at, style)
    assert len(reached) == wanted >= 9

    go_to(browser, "#pause")
    browser.press(*SPACE)
    assert browser.run("document.activeElement.getAttribute('aria-pressed')") == "true"
    browser.press(*SPACE)
    assert browser.run("document.activeElement.getAttribute('aria-pressed')") == "false"
    go_to(browser, "summary")
    browser.press(*ENTER)
    assert not browser.run("document.querySelector('details').open")
    browser.press(*ENTER)
    assert browser.run("document.querySelector('details').open")
    go_to(browser, "#session")
    browser.press(*DOWN)
    browser.wait("document.querySelector('#session').value != ''")
    chosen = browser.run("document.querySelector('#session').value")
    browser.wait(f"{TABLE.format('turns')}.slice(1).every(r => r[0] == '{chosen}')")
    # Updates leave the focus where it is.
    seen = len(browser.events)
    poll(lambda: browser.run("1") and asked(browser)[seen:].count("health") > 1, what="updates")
    assert browser.run("document.activeElement.id") == "session"


def go_to(browser: Browser, selector: str) -> None:
    for _ in range(40):
        browser.press(*TAB)
        if browser.run(f"document.activeElement == document.querySelector('{selector}')"):
            return
    raise AssertionError(f"{selector} is not reached by Tab")


def asked(browser: Browser) -> list[str]:
    """The last part of the path of each request, among the events; '' for other events."""
    found = []
    for event in browser.events:
        sent = event.get("method") == "Network.requestWillBeSent"
        url = event["params"]["request"]["url"] if sent else ""
        found.append(url.partition("?")[0].rpartition("/")[2])
    return found


def test_paused_it_asks_for_nothing(browser: Browser, busy: tuple[Chain, Held]) -> None:
    chain, _ = busy
    look(browser, chain)
    browser.run("document.querySelector('#pause').click()")
    before = row(browser, "totals", "errors")
    turn(chain, SHORT, "lost")
    # Two beats of the page's own clock: the one that was under way, and one more.
    browser.call(
        "Runtime.evaluate",
        expression="new Promise(done => setTimeout(done, 2200))",
        awaitPromise=True,
    )
    assert row(browser, "totals", "errors") == before
    browser.run("document.querySelector('#pause').click()")
    browser.wait(f"{TABLE.format('totals')}[1][3] == '{int(before) + 1}'")


def test_a_screen_reader_is_told_every_name(browser: Browser, busy: tuple[Chain, Held]) -> None:
    chain, held = busy
    with held.streaming(chain):
        look(browser, chain)
        browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
        browser.wait(f"{TABLE.format('under_way')}.length == 2")
        browser.call("Accessibility.enable")
        nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    names: dict[str, list[str]] = {}
    described = []
    for node in nodes:
        role = node["role"]["value"]
        if not node.get("ignored"):
            names.setdefault(role, []).append(node.get("name", {}).get("value", ""))
            if role in ("image", "img"):
                described.append(node.get("description", {}).get("value", ""))
    tables = names["table"]
    assert len(set(tables)) == 6 and all(tables), tables
    plots = names.get("image", []) + names.get("img", [])
    assert len(plots) == 2 and all("stacked bars" in name for name in plots), names.keys()
    assert names["button"] == ["Pause updates"] and names["combobox"] == ["Session"]
    summaries = names["DisclosureTriangle"]
    assert len(set(summaries)) == 2 and all(name.endswith("as a table") for name in summaries)
    assert all(names["region"]) and all(names["columnheader"]) and all(names["rowheader"])
    assert names["heading"][0] == "Interpose" and len(names["heading"]) == 7
    assert len(names["main"]) == len(names["status"]) == 1
    assert all("The table below has the same numbers." in text for text in described), described


def test_nothing_leaves_the_origin_and_no_injected_script_runs(
    browser: Browser, busy: tuple[Chain, Held]
) -> None:
    chain, _ = busy
    turn(chain, NASTY)
    look(browser, chain)
    browser.wait(f"{TABLE.format('sessions')}.some(r => r[0].includes('hacked'))")
    assert browser.run("document.querySelectorAll('img').length") == 0
    browser.run("""
        window.blocked = [];
        const note = (e) => blocked.push(e.effectiveDirective);
        document.addEventListener('securitypolicyviolation', note);
        document.body.insertAdjacentHTML('beforeend', "<p onclick='hacked=3' style='color:red'>" +
            "x</p><img src='http://127.0.0.1:9/x' onerror='hacked=4'>");
        for (const [name, value] of [['textContent', 'hacked=5'],
                                     ['src', 'data:text/javascript,hacked=6']])
            document.body.append(Object.assign(document.createElement('script'), {[name]: value}));
        document.querySelector('p[onclick]').click();
        fetch('http://127.0.0.1:9/x').catch(() => blocked.push('fetch'));
    """)
    for kind in ("script-src-elem", "script-src-attr", "img-src", "style-src-attr", "connect-src"):
        browser.wait(f"blocked.filter(k => k == '{kind}').length > {int(kind.endswith('elem'))}")
    browser.wait("blocked.includes('fetch')")
    assert browser.run("window.hacked") is None
    seen = [e["params"]["request"]["url"] for e in browser.events
            if e.get("method") == "Network.requestWillBeSent"]  # fmt: skip
    went = [e["params"] for e in browser.events if e.get("method") == "Network.responseReceived"]
    assert seen[0] == f"{chain.origin}/dashboard"
    assert went and all(one["response"]["url"].startswith(chain.origin) for one in went)
    planted = ("http://127.0.0.1:9/x", "data:")
    assert all(url.startswith((chain.origin, *planted)) for url in seen), seen


def test_it_can_be_read_without_scripts_and_says_the_same(
    browser: Browser, busy: tuple[Chain, Held]
) -> None:
    chain, _ = busy
    names = ("totals", "sessions", "turns")
    look(browser, chain, f"?session={LONG}")
    alive = {name: browser.run(TABLE.format(name)) for name in names}
    options = browser.run("[...document.querySelectorAll('option')].map(o => o.value)")
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(f"{chain.origin}/dashboard?session={LONG}")
    browser.wait("document.querySelector('noscript p')?.innerText.startsWith('Scripts are off')")
    assert {name: browser.run(TABLE.format(name)) for name in names} == alive
    assert browser.run("[...document.querySelectorAll('option')].map(o => o.value)") == options
    assert browser.run("document.querySelector('select').value") == LONG
    assert browser.run("document.querySelector('#pause').offsetHeight") == 0
    assert browser.run("[...document.querySelectorAll('figure')].every(f => !f.offsetHeight)")
    # Without scripts a form chooses the session.
    browser.run("s = document.querySelector('select'); s.value = " + repr(SHORT))
    browser.run("document.querySelector('noscript button').click()")
    browser.wait(f"location.search == '?session={SHORT}' && {TABLE.format('turns')}.length == 5")


@pytest.mark.parametrize("width", [360, 1180])
def test_the_page_is_no_wider_than_the_window(
    browser: Browser, busy: tuple[Chain, Held], width: int
) -> None:
    chain, _ = busy
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=800,
                 deviceScaleFactor=1, mobile=False)  # fmt: skip
    look(browser, chain)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")


def test_polls_do_not_pile_up_in_mitmweb_nor_do_old_turns(browser: Browser) -> None:
    options = {"web_password": "look", "view_keep": "4"}
    with at_work("mitmweb", options=options) as (chain, held):
        web = f"http://127.0.0.1:{chain.web_port}"

        def flows() -> list[dict[str, Any]]:
            got = httpx.get(f"{web}/flows?token=look", trust_env=False, timeout=10)
            return list(got.json())

        browser.open(f"{chain.origin}/dashboard")
        with held.streaming(chain):
            for n in range(4):
                turn(chain, LONG, again=n)
            browser.wait(f"{TABLE.format('totals')}[1][2] == '4'")
            chain.get("/metrics")
            polls = asked(browser).count("health")
            poll(lambda: browser.run("1") and asked(browser).count("health") > polls + 1)
            held_by_web = flows()
            paths = [flow["request"]["path"] for flow in held_by_web]
            assert not [path for path in paths if "health" in path or "metrics" in path], paths
            # Four that have ended, and the client's leg of the one under way.
            assert len(paths) == 5 and held_by_web[0]["response"]["timestamp_end"] is None
        poll(lambda: len(flows()) <= 6 and "turns\":5" in chain.get("/health?live=1").text)
        turn(chain, LONG)
        assert len(flows()) == 4
        assert "Traceback" not in chain.log() and "Removed" not in chain.log()


def test_the_picture(browser: Browser) -> None:
    with at_work() as (chain, held):
        work(chain)
        with held.streaming(chain):
            browser.call("Emulation.setDeviceMetricsOverride", width=1240, height=1490,
                         deviceScaleFactor=1, mobile=False)  # fmt: skip
            look(browser, chain, f"?session={LONG}")
            browser.wait(f"parseInt({TABLE.format('under_way')}[1]?.[4]) >= 2")
            browser.wait(f"{BARS.format('turns')}.length > 20")
            if os.environ.get("INTERPOSE_WRITE_DOCS"):
                browser.picture(PICTURE)
    assert PICTURE.stat().st_size > 10_000
