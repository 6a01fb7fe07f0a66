"""Which recorded answer a live turn gets, and what is told of the differences."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shim.record.replay import Message, Recorded
from shim.record.served import Match, Served
from shim.wire.protocols import codec


def body(*said: str, model: str = "m", cwd: str = "") -> bytes:
    items: list[dict[str, Any]] = [
        {"type": "message", "role": "user", "content": text} for text in said
    ]
    if cwd:
        items.insert(0, {"type": "message", "role": "user", "content": f"<cwd>{cwd}</cwd>"})
    return json.dumps({"model": model, "input": items}).encode()


def recorded(thread: str, *said: str, answer: str = "", at: float = 0, **more: str) -> Recorded:
    request = Message(
        {"thread-id": thread} if thread else {}, body(*said, **more), path="/v1/responses"
    )
    response = Message({}, answer.encode(), status=200) if answer else None
    return Recorded({"exchange": answer}, request, response, at=at)


def ask(served: Served, thread: str, *said: str, **more: str) -> Match:
    turn = codec("responses").read_request(body(*said, **more))
    return served.match({"thread-id": thread} if thread else {}, turn)


def got(match: Match) -> str:
    return match.told.name if match.told else ""


def test_turns_in_their_order_whatever_they_say() -> None:
    served = Served(
        [recorded("r", "a", "b", answer="2", at=2), recorded("r", "a", answer="1", at=1)]
    )
    assert served.turns == 2
    first = ask(served, "x", "a")
    assert (got(first), first.differs, first.where) == (
        "1",
        [],
        "turn 1 of 2 of the recorded thread r",
    )
    second = ask(served, "x", "a", "other")
    assert got(second) == "2"
    assert second.differs == [
        "item 2, message user: differs at character 0",
        "    recorded: b",
        "    now:      other",
    ]
    last = ask(served, "x", "a", "other", "c")
    assert last.told is None and last.where == "the recording ends after turn 2 of its thread r"


def test_a_new_thread_takes_the_recorded_one_with_the_same_words() -> None:
    both = [recorded("r", "a", answer="1"), recorded("s", "b", answer="2", at=1)]
    assert got(ask(Served(both), "x", "b")) == "2"
    served = Served(both)
    assert [got(ask(served, thread, "new")) for thread in "xyz"] == ["1", "2", "1"]
    served = Served([recorded("r", "a", answer="1"), recorded("s", "b", answer="2", model="n")])
    match = ask(served, "x", "new", model="n")
    assert got(match) == "2"
    assert ask(served, "y", "a", model="n").differs == ["the model is n, recorded m"]


def test_a_client_that_asks_again_gets_the_same_again() -> None:
    served = Served([recorded("r", "a", answer="1"), recorded("r", "a", "b", answer="2", at=1)])
    assert [got(ask(served, "x", "a")) for _ in range(3)] == ["1", "1", "1"]
    assert [got(ask(served, "x", "a", "b")) for _ in range(2)] == ["2", "2"]
    retried = Served([recorded("r", "a", answer="429"), recorded("r", "a", answer="200", at=1)])
    assert [got(ask(retried, "x", "a")) for _ in range(3)] == ["429", "200", "200"]


def test_a_client_without_threads_may_begin_again() -> None:
    served = Served([recorded("", "a", answer="1"), recorded("", "a", "b", answer="2", at=1)])
    for _ in range(2):
        assert got(ask(served, "", "a")) == "1"
        assert got(ask(served, "", "a", "b")) == "2"


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("Wall time: 0.01 seconds", "Wall time: 12.5 seconds"),
        ("Chunk ID: c997c8", "Chunk ID: 00aa11"),
        ("see /home/a/x", "see /tmp/b/x"),
        ("id 00000000-0000-7000-8000-000000000001", "id 11111111-0000-7000-8000-00000000000a"),
        ("<current_date>2026-11-20", "<current_date>2027-01-01"),
    ],
)
def test_what_differs_every_time_is_no_difference(was: str, now: str) -> None:
    assert ask(Served([recorded("r", was, answer="1")]), "x", now).differs == []


def test_the_project_may_lie_elsewhere() -> None:
    served = Served([recorded("r", "look at /work/one/a.py", answer="1", cwd="/work/one")])
    assert ask(served, "x", "look at /src/two/a.py", cwd="/src/two").differs == []
    assert ask(served, "y", "look at /src/two/b.py", cwd="/src/two").differs


def test_what_is_no_turn_or_has_no_answer() -> None:
    page = Recorded({}, Message({}, b"", path="/health"), None)
    broken = Recorded({}, Message({}, b"{", path="/v1/responses"), None)
    served = Served([page, broken, recorded("r", "a")])
    assert served.turns == 1
    match = ask(served, "x", "a")
    assert match.told and match.told.response is None
