"""Limits: what is counted for whom, when it is enough, and what is said then."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec
import pytest
import yaml

from shim.policy.rules import Limit
from shim.policy.schema import Price
from shim.route.limits import Limits, Who
from shim.route.price import cost
from shim.state.store import Memory, SQLite, Store
from shim.turn import Usage

NOON = datetime(2026, 11, 21, 12, 0, 30).timestamp()
PRICE = Price(input=1, output=10, cached=0.1, cache_write=1.25)


def limits(text: str, store: Store | None = None) -> Limits:
    return Limits(msgspec.convert(yaml.safe_load(text), list[Limit]), store or Memory())


def used(tokens: int) -> Usage:
    return Usage(input=tokens - 10, output=10)


def test_what_a_turn_costs() -> None:
    usage = Usage(input=1_000_000, cached=600_000, cache_write=100_000, output=100_000)
    assert cost(usage, PRICE) == pytest.approx(0.3 + 0.06 + 0.125 + 1.0)
    assert cost(usage, Price(input=1, output=10)) == pytest.approx(2.0)


def test_tokens_of_a_session() -> None:
    made = limits("[{name: s, per: session, tokens: 1k}]")
    one, other = Who("one"), Who("other")
    made.after(one, used(999), None, NOON)
    assert made.before(one, NOON) == []
    made.after(one, used(11), None, NOON)
    (verdict,) = made.before(one, NOON)
    assert (
        verdict.state == "refuse" and "1,010 of 1,000 tokens, for each session" in verdict.sentence
    )
    assert made.before(other, NOON) == []


def test_money_of_a_day_and_key_ends_with_the_day() -> None:
    made = limits(
        "[{name: d, per: [key, day], money: 0.5, then: cheaper, to: small, message: Hm.}]"
    )
    who = Who("s", "k")
    made.after(who, Usage(input=600_000), PRICE, NOON)
    (verdict,) = made.before(who, NOON)
    assert (verdict.state, verdict.to) == ("cheaper", "small")
    assert verdict.sentence.startswith("Hm. The limit d is used up: $0.60 of $0.50")
    assert "until 00:00" in verdict.sentence
    assert made.before(Who("s", "other"), NOON) == []
    assert made.before(who, NOON + 86_400) == []


def test_a_model_without_a_price_costs_nothing() -> None:
    made = limits("[{money: 0.1}]")
    made.after(Who(), Usage(input=10**9), None, NOON)
    assert made.before(Who(), NOON) == []


def test_requests_in_a_minute() -> None:
    made = limits("[{per: key, requests_per_minute: 2}]")
    who = Who(key="k")
    assert [len(made.before(who, NOON)) for _ in range(3)] == [0, 0, 1]
    (verdict,) = made.before(who, NOON)
    assert verdict.delay == pytest.approx(30) and "2 requests in this minute" in verdict.sentence
    assert made.before(who, NOON + 31) == []


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_two_chains_over_one_store_count_together(kind: str, tmp_path: Path) -> None:
    first = Memory() if kind == "memory" else SQLite(tmp_path / "s.db")
    second = first if kind == "memory" else SQLite(tmp_path / "s.db")
    a, b = (limits("[{tokens: 100}]", s) for s in (first, second))
    a.after(Who(), used(60), None, NOON)
    b.after(Who(), used(60), None, NOON)
    assert a.before(Who(), NOON) and b.before(Who(), NOON)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_counter_ends_and_begins_anew(kind: str, tmp_path: Path) -> None:
    store: Store = Memory() if kind == "memory" else SQLite(tmp_path / "s.db")
    assert store.total("k", 0) == 0
    assert store.add("k", 2, 100, 0) == 2
    assert store.add("k", 3, 100, 50) == 5
    assert store.total("k", 99) == 5 and store.total("k", 100) == 0
    assert store.add("k", 1, 200, 150) == 1
    store.put("k", b"a value of that name is another thing")
    assert store.total("k", 199) == 1
    store.close()


def test_in_memory_what_was_not_counted_for_longest_makes_room() -> None:
    store = Memory(entries=3)
    for n in range(50):
        store.add(f"session {n}", 1, until=1e9, now=n)
        store.add("key", 1, until=1e9, now=n)
    assert store.total("key", now=50) == 50
    counted = [n for n in range(50) if store.total(f"session {n}", now=50)]
    assert counted == [48, 49]
