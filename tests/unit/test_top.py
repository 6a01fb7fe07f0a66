"""``interpose top``: what a terminal shows, at any size and of any name; a chain that is none."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from shim.cli import main
from shim.cli.top import NoChain, lines, watch
from shim.cli.top_view import lost, view
from shim.daemon.files import Files, Settings
from shim.live.sums import Live
from tests.unit.test_dashboard import page_of
from tests.unit.test_live import NASTY, SUMS, row

URL = "http://127.0.0.1:8080"


def text(shown: Any, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None).print(shown)
    return out.getvalue()


def busy(turns: int = 2) -> Live:
    live = Live()
    for n in range(turns):
        big = dict.fromkeys(SUMS, 123_456 * (n + 1))
        route = {"provider": "openrouter", "model": "vendor/" + "long-name-" * n}
        account = {**big, "dollars": 1234.5678}
        live.add(row(thread=f"019a51ce-3c5e-7d02-a1b4-{n:012}", account=account, route=route))
    live.add(row(thread="019a51ce-3c5e-7d02-a1b4-000000000000", account=None, error="no"))
    return live


def going(n: int) -> dict[str, Any]:
    return {"session": f"s{n}", "model": "m", "route": "up/m", "state": "streaming", "seconds": n}


def test_it_shows_sessions_turns_tokens_savings_and_errors() -> None:
    said = text(view(page_of(busy(), under_way=[going(61)]), URL))
    assert "sessions 2 · turns 2 · errors 1 · under way 1" in said
    assert "input 370.4k" in said and "saved 370.4k" in said and "$2469.1356" in said
    assert re.search(r"s61 +m +up/m +streaming +1 min 1 s", said)
    assert re.search(r"…000000000001 +openr\S+… +1 +0 +246.9k +246.9k +246.9k +1234.5678", said)
    assert "Errors: 1." in said and "nothing recorded yet" in said


@pytest.mark.parametrize("width", [80, 106, 200])
def test_no_number_is_cut(width: int) -> None:
    under_way = [{**going(9999), "model": "m" * 90, "route": "r" * 90} for _ in range(9)]
    said = text(view(page_of(busy(250), under_way=under_way), URL, width), width)
    sums = 6 if width >= 106 else 3
    numbers = rf" +1 +0( +[\d.]+[kM]){{{sums}}} +1234\.5678$"
    assert len(re.findall(r"^…\d{12}  \S+" + numbers, said, re.M)) == 99
    assert len(re.findall(r"…?s9999 +m+… +r+… +streaming +2 h 46 min", said)) == 9
    wide = re.search(r"turns +errors +input +cached +saved +spared +billed +output +\$", said)
    assert bool(wide) == (width >= 106)
    assert max(map(len, said.splitlines())) <= width


@pytest.mark.parametrize("height", [24, 30, 50])
def test_it_fits_the_terminal(height: int) -> None:
    page = page_of(busy(90), under_way=[going(n) for n in range(90)])
    said = text(view(page, URL, 80, height))
    assert len(said.splitlines()) <= max(height, 28)
    assert said.count("more") == 2
    gone = text(lost("no chain", page, URL, 80, height))
    assert "Still trying" in gone and "Its last numbers" in gone


@pytest.mark.parametrize("name", NASTY)
def test_a_name_neither_commands_the_terminal_nor_becomes_markup(name: str) -> None:
    live = Live()
    live.add(row(thread=name, route={"provider": "up", "model": name}, error=name))
    page = page_of(live, under_way=[{**going(1), "session": name, "model": name, "route": name}])
    # A chain of another version may let more through.
    page["live"]["sessions"][0]["session"] = page["live"]["chain"][0]["says"] = name
    page["live"]["said"] = name
    for said in (text(view(page, name)), text(lost(name, page, name, 80, 24))):
        assert all(c.isprintable() for line in said.split("\n") for c in line), name
    if name.startswith("[bold"):
        assert "[bold red]" in text(view(page, name))


def test_watching_goes_on_when_the_chain_comes_back() -> None:
    page, out = page_of(busy()), io.StringIO()
    answers = iter([page, NoChain("no chain answers"), page])

    def ask() -> dict[str, Any]:
        told = next(answers, None)
        if isinstance(told, Exception):
            raise told
        if told is None:
            raise KeyboardInterrupt
        return told

    console = Console(file=out, width=100, height=40, force_terminal=True)
    with pytest.raises(KeyboardInterrupt):
        watch(ask, URL, console, lambda seconds: None)
    said = out.getvalue()
    assert said.index("sessions 2") < said.index("Still trying") < said.rindex("sessions 2")
    assert said.endswith("\x1b[?25h\x1b[?1049l"), "the terminal is left as it was"


def test_a_line_of_json_each(capsys: pytest.CaptureFixture[str]) -> None:
    answers: list[Any] = [page_of(busy()), NoChain("gone")]

    def ask() -> dict[str, Any]:
        if not answers:
            raise KeyboardInterrupt
        told = answers.pop(0)
        if isinstance(told, Exception):
            raise told
        return dict(told)

    with pytest.raises(KeyboardInterrupt):
        lines(ask, lambda seconds: None)
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["live"]["totals"]["turns"] == 2 and second == {"error": "gone"}


class Other(BaseHTTPRequestHandler):
    body = b"{}"

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def other() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>", "is no chain of Interpose"),
        (b"[1]", "is no chain of Interpose"),
        (b'{"live": 3}', "is no chain of Interpose"),
        (b'{"live": {}}', "is no chain of Interpose"),
        (b'{"recording": {}}', "of another version"),
        (b'{"error": {"message": "needs a key"}}', "refuses: needs a key"),
    ],
)
def test_what_is_no_chain_is_told_in_a_sentence(
    body: bytes,
    said: str,
    other: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Other, "body", body)
    for words in (["--once"], ["--once", "--json"]):
        assert main(["top", "--url", other, *words]) == 1
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1 and err.startswith("interpose: ")


def test_without_an_address_it_is_the_daemon_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = Files(tmp_path)
    monkeypatch.setattr("shim.cli.top.Files", lambda: files)
    asked = []
    monkeypatch.setattr(
        "shim.cli.top._ask", lambda client, url: asked.append(url) or page_of(busy())
    )
    assert main(["top", "--once"]) == 0
    files.alive.take()
    files.sign(Settings("policy.yaml", port=8799))
    assert main(["top", "--once"]) == 0
    files.alive.release()
    assert main(["top", "--once"]) == 0
    assert asked == [f"http://127.0.0.1:{port}" for port in (8080, 8799, 8080)]


@pytest.mark.parametrize("url", ["", "8080", "ftp://x", "http://", "http://x:99999", "http://[::1"])
def test_an_address_that_is_none(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--once", "--url", url]) == 1
    err = capsys.readouterr().err
    assert "--url must be an http" in err and err.count("\n") == 1
