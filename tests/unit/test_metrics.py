"""Counters in Prometheus' text form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from shim.live.metrics import Metrics


def row(**more: Any) -> dict[str, Any]:
    account = {"input": 100, "cached": 40, "output": 5, "saved": 7, "dollars": 0.5}
    route = {"provider": "up", "model": "m"}
    return {"route": route, "client": "codex", "status": 200, "account": account,
            "ms": {"added": 3.0}, **more}  # fmt: skip


def test_what_is_counted() -> None:
    metrics = Metrics()
    metrics.add(row(repairs=1))
    metrics.add(row(ms={"added": 2000.0}))
    metrics.add(row(status=429, account=None, usage={"input_tokens": 3}, route={}, ms={}))
    metrics.duplicates = 2
    lines = metrics.text(open=1, recording=False).splitlines()
    for line in (
        'interpose_turns_total{model="up/m",client="codex",status="200"} 2',
        'interpose_turns_total{model="none",client="codex",status="429"} 1',
        'interpose_failures_total{model="up/m"} 0',
        'interpose_failures_total{model="none"} 1',
        'interpose_tokens_total{model="up/m",kind="input"} 200',
        'interpose_tokens_total{model="up/m",kind="saved"} 14',
        'interpose_tokens_total{model="none",kind="input"} 3',
        'interpose_cost_dollars_total{model="up/m"} 1.0',
        "interpose_duplicates_total 2",
        "interpose_repairs_total 1",
        "interpose_turns_open 1",
        "interpose_recording 0",
        'interpose_added_seconds_bucket{le="0.001"} 1',
        'interpose_added_seconds_bucket{le="0.005"} 2',
        'interpose_added_seconds_bucket{le="1.0"} 2',
        'interpose_added_seconds_bucket{le="+Inf"} 3',
        "interpose_added_seconds_sum 2.003",
        "interpose_added_seconds_count 3",
    ):
        assert line in lines, line
    named = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    samples = [line.partition("{")[0].split()[0] for line in lines if line[0] != "#"]
    assert {
        name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in samples
    } == named


def test_the_page_names_every_metric() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "live.md").read_text("utf-8")
    told = {line.split()[2] for line in Metrics().text().splitlines() if line.startswith("# TYPE")}
    assert set(re.findall(r"`(interpose_\w+)`", page)) == told


def test_names_of_clients_neither_flood_nor_break_it() -> None:
    metrics = Metrics()
    for n in range(300):
        metrics.add(row(route={"provider": "up", "model": f'"x\n{n}\\'}))
    text = metrics.text()
    assert 'model="others"' in text and text.count("interpose_turns_total{") == 101
    assert r'model="up/\"x\n0\\"' in text
    metrics.add(row(route={"provider": "key", "model": "m"}), lambda text: text.replace("key", "…"))
    assert "key" not in metrics.text()
