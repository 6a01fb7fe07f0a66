"""What was sent once is sent again as it was, so that providers' prompt caches keep hitting: over
all recorded sessions and generated ones, to each kind of upstream, and across restarts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addons.flowfile import read
from shim.client import Facts
from shim.policy.rules import Dedup
from shim.prompt.catch import Catch
from shim.prompt.edit import Editors
from shim.route.choose import Route
from shim.turn import Turn
from shim.wire.paths import protocol_of
from shim.wire.protocols import Caching, codec
from shim.wire.translate import Translation
from tests.unit.test_dedup import KINDS, TEXTS, conversation, numbered

FLOWS = Path(__file__).resolve().parents[2] / "flows"
NOTHING = Catch([])
CACHING = Caching("5m", "key")
Blocks = list[tuple[str, str]]


def without_marks(value: Any) -> str:
    if isinstance(value, dict):
        value = {k: v for k, v in value.items() if k != "cache_control"}
    return json.dumps(value)


def blocks(body: dict[str, Any]) -> tuple[str, Blocks]:
    """Tools and system, and the blocks of the conversation: each with its role, without marks."""
    head = [*(body.get("tools") or ()), body.get("instructions")]
    system = body.get("system")
    head += system if isinstance(system, list) else [system]
    found: Blocks = []
    for element in body.get("input") or body.get("messages") or ():
        content = element.get("content") if isinstance(element, dict) else None
        if "role" in element and isinstance(content, list) and "tool_calls" not in element:
            found += [(element["role"], without_marks(block)) for block in content]
        else:
            found.append((element.get("role", ""), without_marks(element)))
    return "\n".join(map(without_marks, head)), found


def upstream(turn: Turn, protocol: Any, editors: Editors, thread: str) -> dict[str, Any]:
    done = editors.edit(turn, NOTHING, Facts(thread=thread), None, Dedup(min_bytes=60))
    route = Route("up", protocol, "m", "m", "a test", "http://127.0.0.1:9/v1")
    translation = Translation(done.turn, route, codex=True, caching=CACHING)
    made = json.loads(translation.request())
    assert isinstance(made, dict)
    return made


def recorded() -> Iterator[tuple[str, list[Turn]]]:
    """The turns of each thread in each recording, in order."""
    for path in sorted(FLOWS.glob("*.flow")):
        threads: dict[str, list[Turn]] = {}
        for exchange in read(path):
            protocol = protocol_of(exchange.request.path)
            assert protocol
            turn = codec(protocol).read_request(exchange.request.body)
            threads.setdefault(str(exchange.row["thread"]), []).append(turn)
        for thread, turns in threads.items():
            yield f"{path.stem}: {thread}", turns


def goes_on(before: Turn, after: Turn) -> bool:
    """Whether the client itself kept what it had sent: no compaction, no edit, the same tools."""
    old, new = json.loads(before.body), json.loads(after.body)
    name = "input" if "input" in old else "messages"
    same = all(old.get(f) == new.get(f) for f in ("tools", "instructions", "system"))
    return same and new[name][: len(old[name])] == old[name]


SESSIONS = dict(recorded())


def test_the_recordings_hold_sessions() -> None:
    pairs = [p for turns in SESSIONS.values() for p in pairwise(turns) if goes_on(*p)]
    assert len(pairs) >= 13


@pytest.mark.parametrize("protocol", ["responses", "chat", "messages"])
@pytest.mark.parametrize("name", SESSIONS)
def test_recorded_sessions(name: str, protocol: str) -> None:
    check(SESSIONS[name], protocol)


def check(turns: list[Turn], protocol: str) -> None:
    editors = Editors()
    sent = []
    for n, turn in enumerate(turns):
        if n % 3 == 2:
            # The proxy was started again.
            editors = Editors()
        sent.append(blocks(upstream(turn, protocol, editors, "t")))
    for n, ((head, early), (later_head, late)) in enumerate(pairwise(sent)):
        if goes_on(turns[n], turns[n + 1]):
            assert head == later_head
            assert late[: len(early)] == early


@pytest.mark.parametrize("protocol", ["responses", "chat", "messages"])
@settings(max_examples=60)
@given(made=st.lists(st.tuples(KINDS, TEXTS), min_size=2, max_size=10))
def test_generated_sessions(protocol: str, made: list[tuple[str, list[Any]]]) -> None:
    # No client asks while its model has the last word.
    ends = [n + 1 for n, (kind, _) in enumerate(made) if kind != "assistant"]
    steps = [conversation(made[:end], "responses") for end in ends]
    # Instructions that come first are the system prompt; later ones stay in their place.
    start = [{"type": "message", "role": "user", "content": numbered(1, 9)}]
    check([offering(start + items) for items in steps], protocol)


def offering(items: list[dict[str, Any]]) -> Turn:
    kinds = [("exec_command", "function"), ("p", "custom")]
    tools = [{"type": kind, "name": name, "parameters": {}} for name, kind in kinds]
    body = {"model": "m", "input": items, "tools": tools}
    return codec("responses").read_request(json.dumps(body).encode())
