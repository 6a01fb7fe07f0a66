"""The recorded sessions in flows/: today's code turns them into the very same bytes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from mitmproxy.io import FlowReader

from addons.flowfile import flows_of, row_of, write
from addons.replay import main, read
from addons.sanitise import main as sanitise

FLOWS = sorted((Path(__file__).resolve().parents[2] / "flows").glob("*.flow"))


def test_there_are_at_least_eight() -> None:
    assert len(FLOWS) >= 8


@pytest.mark.parametrize("path", FLOWS, ids=lambda p: p.stem)
def test_a_recorded_session_replays_to_the_same_bytes(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(path)]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("path", FLOWS, ids=lambda p: p.stem)
def test_a_recording_is_of_the_real_codex_and_tells_nothing_of_its_machine(path: Path) -> None:
    assert all("codex_exec/0.169.0" in r.request.headers["user-agent"] for r in read(path))
    raw = path.read_bytes()
    assert b"Bearer" not in raw and b"sk-client" not in raw
    assert not re.search(rb"/(?:tmp|Users)/|/home/(?!user/)|interpose-session", raw)
    assert set(re.findall(rb"127\.0\.0\.1:(\d+)", raw)) <= {b"8000", b"9"}


def test_a_stock_reader_shows_all_four_messages() -> None:
    with FLOWS[0].open("rb") as file:
        client, upstream = list(FlowReader(file).stream())[:2]
    for leg, path in ((client, "/v1/responses"), (upstream, "/chat/completions")):
        assert leg.request.path.endswith(path) and leg.request.content  # type: ignore[attr-defined]
        assert leg.response.content  # type: ignore[attr-defined]
    assert row_of(client)["exchange"] == row_of(upstream)["exchange"]


def test_a_stock_reader_lists_each_leg_in_plain_words() -> None:
    for path in FLOWS:
        with path.open("rb") as file:
            lines = [flow.comment for flow in FlowReader(file).stream()]
        legs = [re.match(r"(?:\S )?(client|upstream) · .+\n· session ", line) for line in lines]
        assert all(legs), lines
        assert not [line for line in lines if "{" in line]


@pytest.mark.parametrize("first", [(), ("line",)], ids=["without a line", "with its line"])
def test_rows_of_older_recorders_are_read(first: tuple[str, ...], tmp_path: Path) -> None:
    """What they wrote as the comment, a recorder of today writes as metadata."""
    old = FLOWS[0].parents[1] / "tests" / "fixtures" / "recordings" / "rows-as-comments.flow"
    flows = list(flows_of(old))
    for flow in flows:
        flow.comment = json.dumps(dict.fromkeys(first, "said") | json.loads(flow.comment))
    file = tmp_path / "old.flow"
    write(file, flows)
    today = next(path for path in FLOWS if path.stem == "apply-patch")
    rows = [row_of(flow) for flow in flows_of(today)]
    assert [row_of(flow) for flow in flows_of(file)] == rows and len(rows) == 6
    assert list(read(file)) == list(read(today))
    assert main([str(file)]) == 0
    shared = tmp_path / "shared.flow"
    assert sanitise(["--sanitise", str(file), "-o", str(shared)]) == 0
    assert main([str(shared)]) == 0


def test_a_changed_codec_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shim.wire.responses.write_answer.PREFIX", {"message": "other"})
    path = next(p for p in FLOWS if p.stem == "plain-answer")
    assert main([str(path)]) == 1
