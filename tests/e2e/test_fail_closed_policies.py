"""The same odd requests under other policies, in mitmweb, and as Codex sends them.

Here a chain's cases are one test: what fails is listed. Faults that are known are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from shim.wire.sse import SSEDecoder
from tests.e2e.fail_closed import Result, World, check_answer, check_journal, check_sent, written
from tests.e2e.known_faults import REQUESTS, mark
from tests.e2e.odd_bodies import OWN_KEY, PATHS, Odd, encodings, odd_bytes, odd_values
from tests.e2e.odd_items import escaped, in_all_places

MODELS = ("to-responses", "to-chat", "to-messages", "auto", "default-of-all")
CODEX = (("user-agent", "codex_exec/0.169.0"), ("x-codex-window-id", "w"))


def some(every: int) -> Iterator[tuple[Odd, str]]:
    """Each so-manieth of all cases, over each model in turn."""
    everything = [
        *(odd for protocol in PATHS for odd in encodings(protocol) if "bomb" not in odd.name),
        *(odd for protocol in PATHS for odd in (*odd_bytes(protocol), *odd_values(protocol))),
        *in_all_places(),
        *escaped(),
    ]
    for number, odd in enumerate(everything[::every]):
        yield odd, MODELS[number % len(MODELS)]


def wrong(results: Iterable[Result], *, rules: bool = True) -> list[str]:
    """What is wrong, and not known."""
    found = []
    for result in results:
        odd = result.odd
        known = any(mark(REQUESTS, odd.protocol, odd.name, model) for model in MODELS[:3])
        try:
            check_sent(result, rules=rules and not known)
            check_answer(result, odd.status | {200, 400})
            check_journal(result)
        except AssertionError as e:
            found.append(f"{odd.protocol} {odd.name} to {result.model}: {str(e)[:300]}")
    return found


def check(world: World, every: int, *, rules: bool = True) -> None:
    results = world.results(some(every))
    assert not wrong(results.values(), rules=rules)
    assert not world.trap.requests
    kept = written(world.chain.folder)
    assert OWN_KEY.encode() not in kept and world.key.encode() not in kept
    assert "crashed" not in world.chain.log()


def test_under_a_policy_with_everything() -> None:
    with World("everything") as world:
        check(world, 17)


@pytest.mark.full
@pytest.mark.parametrize("policy", ["plain", "dedup", "cache", "limits", "route", "everything"])
def test_under_each_policy(policy: str) -> None:
    with World(policy) as world:
        check(world, 2, rules=policy != "plain")


@pytest.mark.full
def test_in_mitmweb() -> None:
    with World("rules", tool="mitmweb") as world:
        check(world, 5)


def test_codex_is_told_in_a_stream() -> None:
    """It retries an error status, and hides what it says."""
    with World("rules") as world:
        cases = [case for case in some(3) if case[0].protocol == "responses"]
        sent = [(replace(odd, headers=(*odd.headers, *CODEX)), model) for odd, model in cases]
        results = world.results(sent).values()
        failed = 0
        for result in results:
            check_sent(result, rules=False)
            assert len(result.rows) == 1 and result.rows[0]["state"] in ("ok", "failed")
            got = result.got
            if result.rows[0]["state"] == "failed" and got.status == 200:
                failed += 1
                assert got.headers["content-type"] == "text/event-stream", (result.odd, got)
                (told,) = SSEDecoder().feed(got.body)
                event = json.loads(told[1])
                assert event["type"] == "response.failed" and event["response"]["error"]["message"]
        assert failed > 5
