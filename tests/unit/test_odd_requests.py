"""Whatever a client sends: it is read, or refused with the place of what is wrong. Nothing else is
ever raised, by no room that a request passes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings

from shim.client import Facts, facts_of
from shim.policy.rules import Cache, Capabilities, CatchRule, Dedup, RedactRule, ToolRule
from shim.prompt import capabilities
from shim.prompt.cache import Caches
from shim.prompt.catch import Catch
from shim.prompt.edit import Editors
from shim.prompt.effort import with_effort
from shim.prompt.mask import Masks
from shim.prompt.secrets import Finder
from shim.prompt.tools import Tools
from shim.repair.turn import Repairs, Rules
from shim.route.choose import Route
from shim.route.rules import has_images, newest_text
from shim.state import compact, expand
from shim.turn import Turn, WireError
from shim.wire.messages.count import count_tokens
from shim.wire.protocols import Caching, codec
from shim.wire.responses.write_echo import echo
from shim.wire.translate import Translation
from tests.unit.odd_requests import SAMPLES, odd_bodies, written

#: More are run by hand: INTERPOSE_ODD_REQUESTS=20000.
EXAMPLES = int(os.environ.get("INTERPOSE_ODD_REQUESTS", "300")) // 3
ODDLY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
FACTS = Facts(client="codex", thread="t", project="/work/shop")
CATCH = Catch(
    msgspec.convert(
        yaml.safe_load("""
- {inject: {text: FIRST}}
- {inject: {text: LAST, at: end, role: user}}
- {replace: {text: see, with: look}}
- {replace: {pattern: 'h(m)', with: '\\1'}}
- {when: {role: tool, larger_than: 3}, cap: 2}
- {when: {role: user}, strip: repeated}
- {when: {role: developer, text: brief}, drop: true}
- {when: {position: 2}, tag: two}
- {when: {position: newest, text: g}, replace: {text: g, with: G}}
- {when: {pattern: 'forty'}, refuse: No.}
"""),
        list[CatchRule],
    )
)
FINDER = Finder([RedactRule(name="short", pattern="ls|words|say"), RedactRule(name="k", use="api-keys")])
TOOLS = {"run": ToolRule(rename="walk", description="New."), "patch": ToolRule(remove=True)}
WANTED = Capabilities(
    prompt_mode="codex_default",
    tool_schema_mode="merge",
    tool_text_format="hermes",
    include_environment_context=True,
)
PLACE = re.compile(r"[\w$-]+(\.[\w$-]+|\[\d+\]|\[\"|\[newest\])*")


def rooms(turn: Turn) -> dict[str, Callable[[], Any]]:
    """Everything a request may pass, each on its own."""
    result: dict[str, Callable[[], Any]] = {
        "items": lambda: turn.items,
        "tools": lambda: turn.tools,
        "facts": lambda: facts_of({}, turn),
        "edit": lambda: Editors().edit(turn, CATCH, FACTS, Masks(FINDER, b"k"), Dedup(min_bytes=1)),
        "catch": lambda: Editors().edit(turn, CATCH, FACTS),
        "mask": lambda: Editors().edit(turn, Catch([]), FACTS, Masks(FINDER, b"k")),
        "dedup": lambda: Editors().edit(turn, Catch([]), FACTS, None, Dedup(min_bytes=1)),
        "rename": lambda: Tools(turn, TOOLS).turn.items,
        "capabilities": lambda: capabilities.apply(turn, WANTED, FACTS, "2026-11-21"),
        "effort": lambda: with_effort(turn, "low"),
        "cache": lambda: Caches().caching(Cache(), FACTS, turn, 1.0),
        "count": lambda: count_tokens(turn),
        "newest": lambda: (newest_text(turn), has_images(turn)),
        "repairs": lambda: Repairs(Rules((), "strict", True, always=True), translation(turn, "chat").bridge, turn),
        "echo": lambda: echo(turn),
    }
    for upstream in ("responses", "chat", "messages"):
        result[f"to {upstream}"] = lambda u=upstream: sendable(translation(turn, u).request())
        result[f"repaired, to {upstream}"] = lambda u=upstream: sendable(
            translation(turn, u, Rules((), "strict", True, always=True)).request()
        )
    if turn.protocol == "responses":
        result |= {
            "previous": lambda: expand.previous(turn),
            "conversation": lambda: expand.refuse_conversation(turn),
            "stored": lambda: expand.is_stored(turn),
            "readable": lambda: expand.readable(turn).items,
            "expanded": lambda: expand.with_items(turn, [b"{}", expand.inner(turn.fields["input"])]).items,
            "triggered": lambda: compact.is_triggered(turn),
            "summary": lambda: compact.summary_turn(turn).items,
            "compacted": lambda: compact.compacted(turn, {"id": 1, "created_at": 1, "usage": None}, {}),
        }
    return result


def translation(turn: Turn, upstream: Any, repair: Rules | None = None) -> Translation:
    route = Route("up", upstream, "up-m", "m", "test", "http://127.0.0.1:9/v1")
    return Translation(turn, route, codex=False, caching=Caching("5m", "k"), repair=repair)


def sendable(body: bytes) -> None:
    assert isinstance(json.loads(body.decode(), parse_int=len), dict)


def is_told(error: WireError) -> None:
    assert 400 <= error.status < 500
    assert error.param is None or PLACE.match(error.param), error.param
    assert error.param or "body" in str(error)
    str(error).encode()


def check(protocol: str, body: bytes) -> None:
    try:
        turn = codec(protocol).read_request(body)
    except WireError as e:
        is_told(e)
        return
    for name, room in rooms(turn).items():
        try:
            room()
        except WireError as e:
            assert e.param, (name, str(e))
            is_told(e)


@pytest.mark.parametrize("protocol", SAMPLES)
def test_the_samples_are_sound(protocol: str) -> None:
    turn = codec(protocol).read_request(written(SAMPLES[protocol]))
    for name, room in rooms(turn).items():
        if name != "conversation":
            room()


@pytest.mark.parametrize("protocol", SAMPLES)
def test_nothing_else_is_raised(protocol: str) -> None:
    @ODDLY
    @given(odd_bodies(protocol))
    def checked(body: bytes) -> None:
        check(protocol, body)

    checked()


@ODDLY
@example(b'{"model":"m","input":[]}')
@given(odd_bodies("responses"))
def test_a_body_to_be_compacted_is_read_or_refused(body: bytes) -> None:
    try:
        turn = compact.read_compact(body)
        compact.summary_turn(turn)
    except WireError as e:
        is_told(e)
