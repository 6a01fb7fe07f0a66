"""``--session`` on commands that read recordings: by id, by the first words, the last one."""

from __future__ import annotations

import json

import pytest

from addons.flowfile import Unreadable
from addons.one_session import of_session
from shim.record.replay import Message, Recorded


def recorded(name: str, session: str, at: float, *said: str) -> Recorded:
    items = [{"role": "user", "content": text} for text in said]
    request = Message({}, json.dumps({"input": items}).encode(), path="/v1/responses")
    row = {"exchange": name, "session": session, "thread": f"t-{session}"}
    return Recorded(row, request, None, at=at)


FOUND = [
    recorded("one", "0195-aa", 1, "Fix the  login page"),
    recorded("two", "0195-bb", 2, "Write a poem"),
    recorded("three", "0195-aa", 3, "Fix the login page", "Write more"),
    recorded("four", "0195-cc", 2.5, "Look"),
]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("0195-bb", ["two"]),
        ("…aa", ["one", "three"]),
        ("t-0195-cc", ["four"]),
        ("last", ["one", "three"]),
        ("fix the login", ["one", "three"]),
        ("0195", ["one", "two", "three", "four"]),
    ],
)
def test_which(wanted: str, names: list[str]) -> None:
    assert [r.name for r in of_session(FOUND, wanted)] == names


def test_none() -> None:
    with pytest.raises(Unreadable, match="no session 'Write more'") as raised:
        of_session(FOUND, "Write more")
    assert "0195-bb  Write a poem" in str(raised.value)
