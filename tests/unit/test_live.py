"""Sums of a running chain against brute force, names that mean harm, the sentences about it."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from shim.live.sums import MOST_MINUTES, MOST_SESSIONS, MOST_TURNS, Live, about, said, session_name
from shim.live.tables import brief, cell, lasting

SUMS = ("input", "cached", "saved", "spared", "billed", "output")
NASTY = [
    "[bold red]x[/] [link=file:///etc/passwd]y[/link]",
    "<script>alert(1)</script>\"'&",
    "\x1b[2J\x1b]0;title\x07\x9b31m",
    "a\nb\tc\r\x00d",
    "‮desrever‬",
    "\ud800",
    "$style ${script} %s {0}",
    "x" * 100_000,
    " " * 5000 + "y",
]


class Clock:
    now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


def row(**more: Any) -> dict[str, Any]:
    account = {"input": 100, "cached": 40, "saved": 7, "spared": 5.5, "billed": 64.5, "output": 9,
               "dollars": 0.5}  # fmt: skip
    return {"thread": "t", "route": {"provider": "up", "model": "m"}, "account": account, **more}


def random_row(dice: random.Random) -> dict[str, Any]:
    account = None
    if dice.random() < 0.8:
        account = {name: dice.randrange(1000) for name in SUMS}
        account["input"] += account["cached"]
        account["dollars"] = dice.choice([None, 0.25, 0.5])
    route = dice.choice([{}, {"provider": "up", "model": f"m{dice.randrange(3)}"}])
    error = dice.choice([None, None, None, "broke"])
    thread = dice.choice([None, f"t{dice.randrange(MOST_SESSIONS + 30)}"])
    return {"thread": thread, "session": dice.choice([None, "s"]), "route": route,
            "account": account, "error": error}  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_sums_are_those_of_all_rows(seed: int) -> None:
    dice, clock = random.Random(seed), Clock()
    live, rows = Live(clock), []
    for _ in range(1500):
        clock.now += dice.choice([0, 1, 30, 400])
        rows.append((clock.now, random_row(dice)))
        live.add(rows[-1][1])
    told = [(at, one) for at, one in rows if one["account"] or one["error"]]
    page = live.page(3, [], "")

    def summed(some: list[dict[str, Any]]) -> dict[str, Any]:
        accounts = [one["account"] for one in some if one["account"]]
        prices = [a["dollars"] for a in accounts]
        return {
            "turns": len(accounts),
            "errors": sum(bool(one["error"]) for one in some),
            "dollars": None if not prices or None in prices else sum(prices),
            **{name: sum(a[name] for a in accounts) for name in SUMS},
        }

    by_name: dict[str, list[dict[str, Any]]] = {}
    for _, one in told:
        by_name.setdefault(one["thread"] or one["session"] or "(no thread named)", []).append(one)
    totals = page["totals"]
    assert summed([one for _, one in told]).items() <= totals.items()
    assert totals["under_way"] == 3 and totals["sessions"] >= len(by_name)
    last = list(dict.fromkeys(
        one["thread"] or one["session"] or "(no thread named)" for _, one in reversed(told)
    ))  # fmt: skip
    assert [s["session"] for s in page["sessions"]] == last[:MOST_SESSIONS]
    if len(by_name) <= MOST_SESSIONS:
        assert totals["sessions"] == len(by_name)
        for shown in page["sessions"]:
            assert summed(by_name[shown["session"]]).items() <= shown.items()
    now = int(clock.now // 60)
    for minute in page["minutes"]:
        at = [one for when, one in told if now - int(when // 60) == minute["ago"]]
        assert minute["failed"] == sum(bool(one["error"]) for one in at)
        assert minute["answered"] == len(at) - minute["failed"]
    hour = [one for when, one in told if now - int(when // 60) < MOST_MINUTES]
    assert sum(m["answered"] + m["failed"] for m in page["minutes"]) == len(hour)
    plotted = page["turns"]["rows"]
    latest = [one["account"] for _, one in told if one["account"]][-MOST_TURNS:]
    assert [turn["input"] for turn in plotted] == [a["input"] for a in latest]
    assert all(turn["full"] + turn["cached"] == turn["input"] for turn in plotted)


def test_the_turns_of_one_session() -> None:
    live = Live()
    for n in range(3):
        live.add(row(thread="a"))
        live.add(row(thread="b", account={**row()["account"], "input": 1000 + n}))
    of = live.page(0, [], "b")["turns"]
    assert of["session"] == "b" and [t["turn"] for t in of["rows"]] == [1, 2, 3]
    assert [t["input"] for t in of["rows"]] == [1000, 1001, 1002]
    assert live.page(0, [], "nobody")["turns"] == {"session": "nobody", "rows": []}
    assert len(live.page(0, [], "")["turns"]["rows"]) == 6


def test_what_neither_cost_nor_failed_is_no_turn() -> None:
    live = Live()
    live.add(row(account=None))
    page = live.page(0, [], "")
    assert (page["totals"]["turns"], page["sessions"], page["minutes"]) == (0, [], [])


def test_a_price_that_is_not_known_makes_the_sum_unknown() -> None:
    live = Live()
    live.add(row(account=None, error="no"))
    live.add(row())
    assert live.page(0, [], "")["totals"]["dollars"] == 0.5
    live.add(row(account={**row()["account"], "dollars": None}))
    live.add(row())
    assert live.page(0, [], "")["totals"]["dollars"] is None


def test_a_clock_that_is_set_back() -> None:
    clock = Clock()
    live = Live(clock)
    live.add(row())
    clock.now -= 7200
    live.add(row())
    page = live.page(0, [], "")
    assert page["minutes"] == [{"ago": 0, "answered": 2, "failed": 0}] and page["seconds"] == 0


@pytest.mark.parametrize("name", NASTY)
def test_a_name_that_means_harm_is_one_short_line(name: str) -> None:
    live = Live()
    live.add(row(thread=name, route={"provider": "up", "model": name}, error=name))
    page = live.page(0, [("policy", name)], name)
    (session,) = page["sessions"]
    (model,) = session["models"]
    for shown in (session["session"], model, session["error"], page["turns"]["session"]):
        assert len(shown) <= 201 and shown.isprintable()
    assert session["session"] and model
    assert page["chain"][1]["says"].isprintable()
    assert len(page["turns"]["rows"]) == 1, "chosen by the name as the client sent it"
    assert len(msgspec.json.encode(page)) < 10_000


def test_names_do_not_flood_it() -> None:
    live = Live()
    for n in range(3 * MOST_SESSIONS):
        live.add(row(thread=f"t{n}", route={"provider": "up", "model": f"m{n}"}))
        live.add(row(thread="one", route={"provider": "up", "model": f"m{n}"}))
    page = live.page(0, [], "")
    assert page["totals"]["sessions"] == 3 * MOST_SESSIONS + 1
    assert len(page["sessions"]) == MOST_SESSIONS
    assert max(len(s["models"]) for s in page["sessions"]) == 10
    assert len(page["turns"]["rows"]) == MOST_TURNS


def test_a_key_in_a_name_is_hidden_though_the_name_is_cut() -> None:
    live, key = Live(), "sk-" + "k" * 300
    route = {"provider": "up", "model": f"m-{key}"}
    live.add(row(thread=f"t-{key}", route=route), lambda text: text.replace(key, "[redacted]"))
    assert "kkk" not in json.dumps(live.page(0, [], ""))
    assert session_name(None, None) == "(no thread named)"


HEALTH: dict[str, Any] = {
    "status": "ok",
    "policy": {"file": "p.yaml", "error": None},
    "recording": {"file": None, "error": None},
}


def test_what_is_said_of_the_chain() -> None:
    well = dict(about(HEALTH, records=True))
    assert well["recording"] == "on, nothing recorded yet"
    assert dict(about(HEALTH, records=False))["recording"] == "off"
    assert well["providers"] == "none is known to be down" and well["policy"] == "p.yaml"
    assert said(HEALTH, 0) == "No errors."
    ill = HEALTH | {
        "policy": {"file": "p.yaml", "error": "p.yaml:3: what?"},
        "recording": {"file": "f.flow", "error": "No space left"},
        "providers": {"up": "open: refused"},
    }
    told = dict(about(ill, records=True))
    assert "not in force: p.yaml:3: what?" in told["policy"]
    assert told["recording"] == "failing: No space left"
    assert told["provider up"] == "not well, open: refused"
    assert said(ill, 1234) == (
        "Errors: 1,234; the policy's latest change is not in force; recording fails; "
        "provider up is not well."
    )


def test_cells() -> None:
    assert [lasting(s) for s in (0.9, 59.9, 61, 7384)] == ["0 s", "59 s", "1 min 1 s", "2 h 3 min"]
    assert [brief(n) for n in (0, 999, 1234, 3_456_789)] == ["0", "999", "1.2k", "3.46M"]
    assert cell(None, "money") == cell("", "text") == cell([], "text") == "–"
    assert cell(1234.5, "count") == "1,234" and cell(0.5, "money") == "0.5000"
    assert cell(["a", "b"], "text") == "a, b" and cell(61, "time") == "1 min 1 s"
