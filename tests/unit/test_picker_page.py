"""The picker's page: what it says of each model, and of a switch; nothing in it is taken for HTML."""

from __future__ import annotations

import html
import re
from typing import Any

from shim.live import picker
from shim.live.metrics import Metrics
from shim.policy.load import parse_policy
from shim.route.switch import Switched

POLICY = parse_policy("""
providers:
  up: { base_url: "http://127.0.0.1:9/v1", key: "${SURELY_NOT_SET}" }
  down: { base_url: "http://127.0.0.1:9/v1", protocol: messages }
models:
  big: { provider: up, model: vendor/big, fallbacks: [free], price: { input: 3, output: 15, cached: 0.3 } }
  '<b>"small"': { provider: down, images: false, price: { input: 0.1, output: 0.4 } }
  free: { provider: demo }
auto:
  classifier: free
  candidates: [{ model: big, card: strong }, { model: '<b>"small"', card: quick }]
default: big
""")


def page(**more: Any) -> dict[str, Any]:
    metrics = Metrics()
    metrics.add({"route": {"provider": "up", "model": "vendor/big"}, "account": {"dollars": 0.25}})
    rows = picker.rows(POLICY, "big", {"down": "open: <script>alert(1)</script>"}, metrics.spent())
    made = {
        "chosen": "big",
        "switched": None,
        "codex": None,
        "can_restart": False,
        "restarted": "",
        "models": rows,
        **more,
    }
    return {**made, "says": picker.says(made)}


def cells(text: str) -> list[list[str]]:
    body = re.search(r"<tbody>(.*)</tbody>", text, re.S)
    assert body
    rows = re.findall(r"<tr>(.*?)</tr>", body[1], re.S)
    return [
        [
            html.unescape(re.sub("<[^>]+>", "", c)).strip()
            for c in re.findall(r"<t[hd][ >].*?</t[hd]>", row)
        ]
        for row in rows
    ]


def test_route_health_and_cost_of_each_model() -> None:
    body, headers = picker.render(page(), "the-token")
    big, small, free, auto = cells(body.decode())
    assert big == [
        "big", "up → vendor/big (chat), else free",
        "the variable SURELY_NOT_SET is not set: up counts as down",
        "128,000", "yes", "3 (cached 0.3) / 15", "0.2500",
    ]  # fmt: skip
    assert small[1:3] == ['down → <b>"small" (messages)', "open: <script>alert(1)</script>"]
    assert small[4:] == ["no", "0.1 / 0.4", "0.0000"]
    assert free[1:3] == ["demo → free", "ok"] and free[5:] == ["–", "–"]
    assert auto[1] == 'one of big, <b>"small"'
    text = body.decode()
    assert "<script" not in text and "<b>" not in text
    assert text.count(" checked>") == 1 and 'value="big" required checked>' in text
    assert 'name="token" value="the-token"' in text and "autofocus" not in text
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy and "form-action 'self'" in policy
    assert headers["referrer-policy"] == "same-origin" and headers["cache-control"] == "no-store"


def test_it_says_for_whom_a_switch_counts() -> None:
    def said(**more: Any) -> str:
        return " ".join(page(**more)["says"])

    config = {"file": "/home/me/.codex/config.toml", "asks_for": "big"}
    assert "as the policy says" in said()
    assert "big answers" in said(default="demo") and "as it was started" in said(default="demo")
    open_ones = said(switched=Switched("big", 5.0, ["free", "x"], 5.0), codex=config)
    assert "Switched to big (" in open_ones
    assert "already open that ask for free or x go on with big now" in open_ones
    assert "New sessions of Codex ask for big (/home/me/.codex/config.toml)." in open_ones
    memory = said(switched=Switched("big", 5.0, ["free"]))
    assert "Whoever asks for free gets big now." in memory and "in its memory" in memory
    off = said(codex={**config, "asks_for": None})
    assert "run interpose enable" in off
    gone = said(switched=Switched("gone", 5.0, ["free"]))
    assert "as the policy says" in gone and "Switched" not in gone
    assert "has no default" in said(chosen=None)


def test_what_has_come_of_it_has_the_focus() -> None:
    done, _ = picker.render(page(switched=Switched("big", 5.0), restarted="It was restarted."), "t")
    assert " autofocus" in done.decode() and "It was restarted." in done.decode()
    failed, _ = picker.render(page(), "t", "no model <x>")
    assert "Nothing was switched: no model &lt;x&gt;." in failed.decode()
    assert "<title>Nothing was switched" in failed.decode() and " autofocus" in failed.decode()


def test_the_restart_is_offered_where_it_can_be_done_and_never_chosen() -> None:
    mac, _ = picker.render(page(can_restart=True), "t")
    box = re.search(r'<input type="checkbox"[^>]*>', mac.decode())
    assert box and "checked" not in box[0]
    other, _ = picker.render(page(), "t")
    assert "checkbox" not in other.decode() and "on macOS" in other.decode()
