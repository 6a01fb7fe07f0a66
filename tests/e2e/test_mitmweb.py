"""Recordings in mitmweb, as a real browser shows them; the pictures in the docs come from here.

INTERPOSE_WRITE_DOCS=1 writes them anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from addons.flowfile import read
from tests.e2e.browser import Browser, chromium
from tests.e2e.chain import ROOT, free_port, poll

PICTURES = ROOT / "docs" / "pictures"
BINARY = chromium()
ROWS = "[...document.querySelectorAll('.flow-table tbody tr')].filter(row => row.cells.length)"
SHOWN = "document.querySelector('.flow-detail').innerText"

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not BINARY, reason="no Chromium: apt-get install chromium, or CHROMIUM=…"),
]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mitmweb(ROOT / "flows" / "apply-patch.flow", tmp_path_factory.mktemp("web")) as url:
        yield url


@contextmanager
def mitmweb(
    recording: Path, folder: Path, script: str = "views.py", more: tuple[str, ...] = ()
) -> Iterator[str]:
    """The address of a mitmweb that shows a recording, with our views and nothing else of ours."""
    port = free_port()
    words = ["-n", "-r", str(recording), "--no-web-open-browser", *more]
    words += ["-s", str(ROOT / "addons" / script)] if script else []
    words += ["--web-port", str(port), "--set", "web_password=look", "--set", f"confdir={folder}"]
    log = folder / "log"
    with log.open("wb") as out:
        binary = Path(sys.executable).parent / "mitmweb"
        process = subprocess.Popen([binary, *words], stdout=out, stderr=out, cwd=folder)
    url = f"http://127.0.0.1:{port}/?token=look"

    def up() -> bool:
        try:
            return httpx.get(url, trust_env=False).status_code < 500
        except httpx.TransportError:
            assert process.poll() is None, log.read_text()
            return False

    try:
        poll(up, 30, "mitmweb")
        yield url
    finally:
        process.terminate()
        process.wait(10)
    assert "Traceback" not in log.read_text() and "Error" not in log.read_text()


@pytest.fixture
def browser(web: str) -> Iterator[Browser]:
    assert BINARY
    with Browser(BINARY, 1340, 680) as made:
        made.open(web)
        made.wait(f"{ROWS}.length == 6")
        yield made


def test_the_list_can_be_read(browser: Browser) -> None:
    line = "test-model → upstream/vendor/model · 200 · "
    browser.wait(f"{ROWS}.every(row => row.innerText.includes({line!r}))")
    assert not browser.run(f"{ROWS}.some(row => row.innerText.includes('{{'))")
    rows = browser.run(f"{ROWS}.map(row => row.innerText)")
    assert ["🔨" in row for row in rows] == [True] * 4 + [False] * 2
    picture(browser, "list")


def test_the_list_can_be_read_without_anything_of_ours(tmp_path: Path) -> None:
    assert BINARY
    columns = ("--set", "web_columns=comment", "--set", "web_columns=time")
    recording = ROOT / "flows" / "apply-patch.flow"
    with (
        mitmweb(recording, tmp_path, script="", more=columns) as url,
        Browser(BINARY, 1340, 680) as browser,
    ):
        browser.open(url)
        browser.wait(f"{ROWS}.length == 6")
        rows = browser.run(f"{ROWS}.map(row => row.cells[0].innerText)")
        assert rows[0].startswith("🔨 client · test-model → upstream/vendor/model · 200 · ")
        assert not [row for row in rows if "{" in row]
        look(browser, 0, "Comment")
        browser.wait(f"{SHOWN}.includes('🔨 client · test-model')")
        assert "{" not in browser.run(SHOWN)


def test_a_turn_item_by_item(browser: Browser) -> None:
    look(browser, 2, "Response")
    browser.wait(f"{SHOWN}.includes('2. call apply_patch · call_b')")
    shown = browser.run(SHOWN)
    assert "-Helo world" in shown and "+Hello world" in shown and "1. reasoning" in shown
    assert "client leg · test-model → upstream/vendor/model" in shown
    picture(browser, "turn")
    look(browser, 4, "Request")
    browser.wait(f"{SHOWN}.includes('9 tools: exec_command')")
    assert "output · call_b" in browser.run(SHOWN)


def test_the_stream_as_a_timeline(browser: Browser) -> None:
    look(browser, 3, "Response")
    choose(browser, "turn-timeline")
    browser.wait(f"{SHOWN}.includes('chunk arguments ×2')")
    assert "chunk reasoning_content" in browser.run(SHOWN)
    picture(browser, "timeline")


def test_the_exchange_and_what_changed(browser: Browser) -> None:
    look(browser, 2, "Request")
    choose(browser, "turn-exchange")
    browser.wait(f"{SHOWN}.includes('what changed on the way upstream')")
    assert "route: upstream/vendor/model by the model's name" in browser.run(SHOWN)
    choose(browser, "turn-tools")
    browser.wait(f"{SHOWN}.includes('tool apply_patch')")


COMMAND = """
fetch('/commands/interpose.fixture', {
  method: 'POST',
  headers: {
    'content-type': 'application/json',
    'x-xsrftoken': document.cookie.match(/_mitmproxy_xsrf=([^;]*)/)[1]
  },
  body: JSON.stringify({arguments: ['~c 200', '%s']})
}).then(r => r.text()).then(text => { window.told = text })
"""


def test_a_fixture_by_a_command(tmp_path: Path) -> None:
    assert BINARY
    file, recording = tmp_path / "fixture.flow", ROOT / "flows" / "apply-patch.flow"
    with mitmweb(recording, tmp_path, "main.py") as url, Browser(BINARY) as browser:
        browser.open(url)
        browser.wait(f"{ROWS}.length == 6")
        browser.run(f"void {COMMAND % file}")
        browser.wait("!!window.told")
        assert f"{file}: 3 exchanges" in browser.run("window.told")
    assert len(list(read(file))) == 3


def look(browser: Browser, row: int, tab: str) -> None:
    browser.run(f"{ROWS}[{row}].click()")
    browser.wait("!!document.querySelector('.flow-detail')")
    click(browser, ".flow-detail nav a", tab)


def choose(browser: Browser, view: str) -> None:
    click(browser, ".flow-detail a.btn", "View:")
    browser.wait(
        "document.querySelectorAll('.dropdown-menu.show li, .dropdown-menu li').length > 3"
    )
    click(browser, ".dropdown-menu li a", view)


def click(browser: Browser, selector: str, text: str) -> None:
    """Click the element that `selector` finds and whose text begins with `text`."""
    found = f"[...document.querySelectorAll('{selector}')]"
    one = f"{found}.find(e => e.innerText.trim().startsWith('{text}'))"
    browser.wait(f"!!{one}")
    browser.run(f"{one}.click()")


def picture(browser: Browser, name: str) -> None:
    path = PICTURES / f"mitmweb-{name}.png"
    if os.environ.get("INTERPOSE_WRITE_DOCS"):
        path.parent.mkdir(exist_ok=True)
        browser.picture(path)
    assert path.stat().st_size > 10_000
