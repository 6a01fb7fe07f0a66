"""Tables as 80 columns and as a pipe show them: no number is cut, and nothing goes without a word."""

from __future__ import annotations

import fcntl
import io
import json
import os
import random
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from addons.flowfile import flows_of, row_of, set_row, write
from shim.cli.screen import Column, Screen, table
from shim.live.sums import Live
from shim.live.tables import brief, cell
from shim.record.events import END, START, Event, begun, ended
from shim.record.journal import Journal
from tests.unit.test_dashboard import page_of
from tests.unit.test_live import SUMS, row

ROOT = Path(__file__).resolve().parents[2]
INTERPOSE = Path(sys.executable).parent / "interpose"
NOW = 1_800_000_000.0
THREAD = "019a51ce-3c5e-7d02-a1b4-{:012}"


def big(n: int) -> dict[str, Any]:
    """What a turn cost: numbers as long as they get."""
    counts = dict.fromkeys(SUMS, 123456789 - n)
    return {
        **counts,
        "written": 7,
        "read": 0.25,
        "counted_by": "upstream",
        "dollars": 1234.5678 + n,
    }


def turn(n: int, **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 1_234_567 + n, "cached_tokens": 1_111_111, "output_tokens": 98_765}
    route = {"provider": "openrouter", "model": "moonshotai/kimi-k2-instruct", "name": "kimi"}
    return {
        "thread": THREAD.format(n % 3), "session": THREAD.format(n % 3), "model": "kimi",
        "client": "codex", "route": route, "status": 200, "usage": usage, "account": big(n),
        "ms": {"total": 123_456.7 + n, "first_byte": 9.5, "added": 1.5}, "calls": 3,
        "decisions": ["repair: one call"], **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a flow file and a journal, of three sessions in which some turns failed."""
    folder = tmp_path_factory.mktemp("recorded")
    flows = list(flows_of(ROOT / "flows" / "bug-fix-by-the-demo-model.flow"))
    for n, flow in enumerate(flows):
        account = None if n // 2 == 5 else big(n)
        set_row(flow, {**row_of(flow), **turn(n // 2), "account": account})
    write(folder / "day.flow", flows)
    journal = Journal(folder / "journal.db")
    for n in range(7):
        at, name = NOW + n, f"5a17c0de-0000-0000-0000-{n:012}"
        journal.add([Event(START, at, name, json.dumps(begun(turn(n))))])
        journal.add([Event(END, at + 9, name, json.dumps(ended(turn(n), at, "day.flow")))])
    journal.close()
    return folder


@pytest.fixture(scope="module")
def chain() -> Iterator[str]:
    """The address of what answers as a chain does."""
    live = Live()
    for n in range(7):
        live.add(row(thread=THREAD.format(n % 3), account=big(n), route=turn(n)["route"]))
    going = {"session": THREAD.format(9), "model": "m" * 40, "route": "up/" + "m" * 40,
             "state": "streaming", "seconds": 9999}  # fmt: skip
    page = json.dumps(page_of(live, under_way=[going])).encode()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


#: What would change how output is written.
_SET = {"COLUMNS", "LINES", "FORCE_COLOR", "PYTHONUNBUFFERED"}


def environment(**more: str) -> dict[str, str]:
    plain = {k: v for k, v in os.environ.items() if k not in _SET}
    return {**plain, "TERM": "xterm", "NO_COLOR": "1", **more}


def piped(*words: str, **more: str) -> str:
    done = subprocess.run(
        [INTERPOSE, *words], capture_output=True, text=True, timeout=60, env=environment(**more)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def on_a_terminal(*words: str, columns: int = 80) -> str:
    """What a terminal of so many columns gets, without what commands it."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [INTERPOSE, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment()
    )
    os.close(theirs)
    parts = []
    with suppress(OSError):  # what Linux says when the other end is closed
        while part := os.read(ours, 1 << 16):
            parts.append(part)
    os.close(ours)
    assert process.wait(20) == 0
    text = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", b"".join(parts)).decode()
    return re.sub(r"[^\n]*\r", "", text.replace("\r\n", "\n"))


def cells(text: str, head: str) -> list[dict[str, str]]:
    """The rows of the table whose header matches ``head``: cells by the title above them."""
    lines = text.split("\n")
    at = next(n for n, line in enumerate(lines) if re.match(rf" *{head}  ", line))
    titles = re.split(r" {2,}", lines[at].strip())
    rows = []
    for line in lines[at + 2 :]:
        values = re.split(r" {2,}", line.strip())
        if values[0] == "all" and len(values) == len(titles) - 1:
            values.insert(1, "")  # all of them have no client
        if len(values) == len(titles):
            rows.append(dict(zip(titles, values, strict=True)))
        elif line.strip():
            break
    return rows


def stats_of(answer: dict[str, Any]) -> list[list[str]]:
    return [
        [*(f"{one[name]:,}" for name in ("turns", "failed")),
         *(brief(one[name]) for name in ("input", "saved", "billed", "spared", "output")),
         f"{one['dollars']:.4f}"]
        for one in [*answer["sessions"], answer["all"]]
    ]  # fmt: skip


def audit_of(answer: list[dict[str, Any]]) -> list[list[str]]:
    return [
        [*(f"{one[name]:,}" for name in ("input", "cached", "output", "saved", "repairs")),
         f"{one['total'] / 1000:.2f}", f"{one['dollars']:.4f}", str(one["status"])]
        for one in answer
    ]  # fmt: skip


def whatif_of(answer: dict[str, Any]) -> list[list[str]]:
    return [
        [f"{one['turns']:,}", f"{one['input'] / 1000:,.0f}",
         *(f"{one[name] / 1000:,.1f}" for name in ("was", "would"))]
        for one in [*answer["sessions"], answer["all"]]
    ]  # fmt: skip


def top_of(answer: dict[str, Any]) -> list[list[str]]:
    return [
        [*(brief(one[name]) for name in (*SUMS, "turns", "errors")), cell(one["dollars"], "money")]
        for one in answer["live"]["sessions"]
    ]


WHATIF = ("whatif", str(ROOT / "tests" / "fixtures" / "logs"))
Of = Callable[[Any], list[list[str]]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (("stats", "RECORDING"), stats_of),
        (("audit", "--journal", "RECORDING"), audit_of),
        (WHATIF, whatif_of),
        (("top", "--once", "--url", "CHAIN"), top_of),
    ],
    ids=["stats", "audit", "whatif", "top"],
)
def test_every_number_is_whole(
    words: tuple[str, ...], numbers: Of, recording: Path, chain: str
) -> None:
    stands = {"RECORDING": str(recording), "CHAIN": chain}
    words = tuple(stands.get(word, word) for word in words)
    head = {"audit": r"began \(UTC\)", "top": "session +models"}.get(words[0], "session")
    expected = numbers(json.loads(piped(*words, "--json")))
    # A pipe gets everything, whatever a variable says of some terminal.
    whole = piped(*words)
    assert piped(*words, COLUMNS="80") == whole
    table = cells(whole, head)
    assert "…" not in whole and "no room" not in whole
    for one in expected:
        assert any(set(one) <= set(line.values()) for line in table), (one, whole)
    narrow = on_a_terminal(*words)
    assert max(map(len, narrow.split("\n"))) <= 80
    shown = cells(narrow, head)
    assert len(shown) == len(table)
    note = re.search(r"^no room for: (.+); a pipe has them", narrow, re.M)
    left = note[1].split(", ") if note else []
    assert [*shown[0], *left] == sorted(table[0], key=[*shown[0], *left].index)
    numbers_of = [name for name in shown[0] if name not in ("session", "used", "models", "flow")]
    assert len(numbers_of) > 4
    for line, of_pipe in zip(shown, table, strict=True):
        assert [line[name] for name in numbers_of] == [of_pipe[name] for name in numbers_of]


COLUMNS = (
    Column("name", text=True, tail=True, least=5, most=9),
    Column("model", text=True),
    Column("in"),
    Column("of which\ncached", rank=2),
    Column("note", text=True, rank=1),
    Column("$", rank=0),
)


def printed(room: int | None, rows: list[list[str]], columns: tuple[Column, ...] = COLUMNS) -> str:
    out = io.StringIO()
    Console(file=out, width=room or 10_000, color_system=None).print(table(columns, rows, room))
    return out.getvalue()


@pytest.mark.parametrize("seed", range(20))
def test_a_number_is_whole_at_any_width(seed: int) -> None:
    dice = random.Random(seed)
    rows = [
        ["n" * dice.randrange(1, 40), "model " * dice.randrange(1, 9),
         f"{10 ** dice.randrange(9):,}", f"{dice.randrange(10**9)}", "x" * dice.randrange(1, 99),
         f"{dice.random() * 1000:.4f}"]
        for _ in range(dice.randrange(1, 6))
    ]  # fmt: skip
    for room in range(40, 140, 3):
        text = printed(room, rows)
        assert max(map(len, text.splitlines())) <= room, text
        left = re.search(r"no room for: (.+); a pipe has them", " ".join(text.split()))
        gone = left[1].split(", ") if left else []
        assert gone in ([], ["of which cached"], ["of which cached", "note"])
        for cells in rows:
            assert {cells[2], cells[5]} <= set(text.split()), (room, text)
            assert gone or cells[3] in text.split()
    whole = printed(None, rows)
    assert all(cell.strip() in whole for cells in rows for cell in cells) and "…" not in whole


def test_texts_give_way_before_columns_do() -> None:
    rows = [["0123456789abcdef", "provider/some-model", "1,234", "99", "a long remark", "0.5000"]]
    assert "…89abcdef  provider/some-model" in printed(80, rows)
    assert "…89abcdef  provider…" in printed(57, rows)
    assert "no room for: of which cached;" in printed(44, rows)
    assert "no room for: of which cached, note;" in printed(36, rows)
    # A name neither commands the terminal nor is it markup.
    assert "[red]x�[2J" in printed(80, [["", "[red]x\x1b[2J", "1", "2", "", "3"]])


def test_a_file_has_room_for_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    with (tmp_path / "out").open("w+") as file:
        monkeypatch.setattr(sys, "stdout", file)
        screen = Screen()
        assert screen.room is None and screen.bars == 100
        screen.print("word " * 30)
        file.seek(0)
        assert file.read() == "word " * 30 + "\n"
