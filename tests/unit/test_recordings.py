"""The recorded sessions in flows/: today's code turns them into the very same bytes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from mitmproxy.io import FlowReader

from addons.replay import main, read

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
    assert json.loads(client.comment)["exchange"] == json.loads(upstream.comment)["exchange"]


def test_a_changed_codec_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shim.wire.responses.write_answer.PREFIX", {"message": "other"})
    path = next(p for p in FLOWS if p.stem == "plain-answer")
    assert main([str(path)]) == 1
