"""The provider's prompt cache: where breakpoints stand, how long they live, which key goes where."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.tokens.biller import Biller, Tokens, TooManyMarks
from benchmarks.tokens.prompts import read
from shim.client import Facts
from shim.policy.rules import Cache
from shim.prompt.cache import Caches
from shim.route.choose import Route
from shim.turn import Turn
from shim.wire.protocols import Caching, codec
from shim.wire.translate import Translation

TOOLS = [{"type": "function", "name": n, "parameters": {}} for n in ("write", "exec_command")]
MINUTE = 60.0


def step(n: int, calls: int = 1) -> list[dict[str, Any]]:
    ids = [f"c{n}_{k}" for k in range(calls)]
    asked = [
        {"type": "function_call", "call_id": i, "name": "exec_command", "arguments": "{}"}
        for i in ids
    ]
    done = [{"type": "function_call_output", "call_id": i, "output": f"{i} " * 300} for i in ids]
    return asked + done


def codex(*items: dict[str, Any], **fields: Any) -> Turn:
    start = [
        {"type": "message", "role": "developer", "content": "You are Codex. " * 400},
        {"type": "message", "role": "user", "content": "Fix it."},
    ]
    body = {"model": "m", "input": [*start, *items], "tools": TOOLS, **fields}
    return codec("responses").read_request(json.dumps(body).encode())


def claude(messages: list[Any], **fields: Any) -> Turn:
    body = {"model": "m", "max_tokens": 9, "messages": messages, **fields}
    return codec("messages").read_request(json.dumps(body).encode())


def upstream(
    turn: Turn, protocol: Any, caching: Caching | None, base: str = "http://127.0.0.1:9/v1"
) -> dict[str, Any]:
    route = Route("up", protocol, "m", "m", "a test", base)
    made = json.loads(Translation(turn, route, codex=True, caching=caching).request())
    assert isinstance(made, dict)
    return made


def marks(body: dict[str, Any]) -> list[Any]:
    found = [t["name"] for t in body.get("tools") or () if "cache_control" in t]
    system = body.get("system")
    found += [
        "system" for b in (system if isinstance(system, list) else ()) if "cache_control" in b
    ]
    for m, message in enumerate(body["messages"]):
        content = message["content"]
        blocks = content if isinstance(content, list) else ()
        found += [(m, n) for n, block in enumerate(blocks) if "cache_control" in block]
    return found


def test_breakpoints_stand_where_this_turn_and_the_last_one_end() -> None:
    body = upstream(codex(*step(1), *step(2, 3)), "messages", Caching("5m"))
    assert marks(body) == ["write", "system", (2, 0), (4, 2)]
    assert body["messages"][4]["content"][2]["cache_control"] == {"type": "ephemeral"}
    hour = upstream(codex(), "messages", Caching("1h"))
    assert hour["system"][-1]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert marks(hour) == ["write", "system", (0, 0)]


def test_a_client_of_messages_gets_them_unless_it_has_its_own() -> None:
    talk = [
        {"role": "user", "content": "Fix it."},
        {"role": "assistant", "content": "How?"},
        {"role": "user", "content": [{"type": "text", "text": "Well."}]},
    ]
    body = upstream(claude(talk, system="You are kind."), "messages", Caching("5m"))
    assert marks(body) == ["system", (0, 0), (2, 0)]
    own = {"type": "text", "text": "Well.", "cache_control": {"type": "ephemeral"}}
    turn = claude([{"role": "user", "content": [own]}], system="You are kind.")
    assert (
        Translation(
            turn, Route("up", "messages", "m", "m", "a test"), codex=False, caching=Caching("5m")
        ).request()
        is turn.body
    )


@pytest.mark.parametrize("calls", [1, 4, 15, 30])
def test_each_turn_reads_all_that_the_last_one_wrote(calls: int) -> None:
    biller, items, before = Biller(Tokens()), [], 0
    for n in range(8):
        body = upstream(codex(*items), "messages", Caching("5m"))
        bill = biller.marked(read("/v1/messages", body).blocks, n * MINUTE)
        assert bill.read == before
        assert bill.plain < 30
        before = bill.read + sum(bill.written.values())
        items += step(n, calls)


def test_the_biller_bills_as_the_provider_says() -> None:
    def bill(biller: Biller, now: float, items: list[Any], life: str | None) -> Any:
        body = upstream(codex(*items), "messages", Caching(life))
        return biller.marked(read("/v1/messages", body).blocks, now)

    biller = Biller(Tokens())
    assert bill(biller, 0, [], None).read == 0 == bill(biller, 1, [], None).read
    first = bill(biller, 2, [], "5m")
    assert first.read == 0 and first.written["5m"] > 1024
    assert bill(biller, 2 + 4 * MINUTE, [], "5m").read == first.written["5m"]
    # Reading has renewed it.
    assert bill(biller, 2 + 8 * MINUTE, [], "5m").read == first.written["5m"]
    assert bill(biller, 2 + 14 * MINUTE, [], "5m").read == 0
    assert first.equivalent(0.1) == pytest.approx(first.plain + 1.25 * first.written["5m"])
    long = Biller(Tokens())
    assert "1h" in bill(long, 0, [], "1h").written
    assert bill(long, 50 * MINUTE, step(1), "1h").read > 1024
    many = upstream(codex(*step(1)), "messages", Caching("5m"))
    for block in many["messages"][1]["content"] + many["messages"][0]["content"]:
        block["cache_control"] = {"type": "ephemeral"}
    with pytest.raises(TooManyMarks):
        long.marked(read("/v1/messages", many).blocks, 0)


def test_the_biller_caches_beginnings_by_itself() -> None:
    biller, items, last = Biller(Tokens()), [], 0
    for n in range(4):
        body = upstream(codex(*items), "chat", None)
        bill = biller.automatic(read("/v1/chat/completions", body).blocks, n * MINUTE)
        assert bill.read % 128 == 0 and last - 128 < bill.read <= last
        last, items = bill.total, items + step(n)
    again = biller.automatic(read("/v1/chat/completions", body).blocks, 60 * MINUTE)
    assert again.read == 0


def test_auto_learns_from_the_pauses_of_a_thread() -> None:
    caches, rules, now = Caches(), Cache(), 1_000_000.0
    facts = Facts(thread="t")
    lives = []
    for n, pause in enumerate((0, 20, 30, 700, 20, 900, 20, 20)):
        now += pause
        items = [s for k in range(n) for s in step(k)]
        lives.append(caches.caching(rules, facts, codex(*items), now).life)
    assert lives[:3] == ["5m"] * 3 and lives[-1] == "1h"
    # After a night everything is gone either way: that is nothing to learn from.
    other = Facts(thread="u")
    for _ in range(5):
        now += 9 * 3600
        assert caches.caching(rules, other, codex(), now).life == "5m"
    assert caches.caching(Cache(ttl="1h"), Facts(thread="v"), codex(), now).life == "1h"
    assert caches.caching(Cache(breakpoints=False), facts, codex(), now).life is None


def test_each_thread_and_its_compactions_have_a_key_of_their_own() -> None:
    def key(thread: str, turn: Turn, how: Any = "auto") -> str | None:
        return Caches().caching(Cache(key=how), Facts(thread=thread, session="s"), turn, 0).key

    whole = codex()
    assert key("root", whole) == key("root", codex(*step(1)))
    summary = codec("responses").read_request(
        json.dumps({"model": "m", "input": [], "tools": []}).encode()
    )
    assert len({key("root", whole), key("child", whole), key("root", summary)}) == 3
    assert "root" not in str(key("root", whole))
    assert key("root", whole, "never") is None


@pytest.mark.parametrize(
    ("protocol", "base", "always", "sent"),
    [
        ("chat", "https://api.openai.com/v1", False, True),
        ("chat", "https://api.mistral.ai/v1", False, False),
        ("chat", "https://api.mistral.ai/v1", True, True),
        ("responses", "https://example.org/v1", False, True),
        ("messages", "https://api.anthropic.com/v1", True, False),
    ],
)
def test_a_key_goes_where_it_is_known(protocol: Any, base: str, always: bool, sent: bool) -> None:
    body = upstream(
        codex(prompt_cache_key="the root session"), protocol, Caching("5m", "k", always), base
    )
    assert body.get("prompt_cache_key") == ("k" if sent else None)
    from_claude = upstream(
        claude([{"role": "user", "content": "x"}]), protocol, Caching("5m", "k", always), base
    )
    assert from_claude.get("prompt_cache_key") == ("k" if sent else None)


def test_the_order_of_tools_does_not_matter() -> None:
    def names(protocol: str) -> list[str]:
        tools = upstream(codex(), protocol, Caching("5m"))["tools"]
        return [(tool.get("function") or tool)["name"] for tool in tools]

    for protocol in ("chat", "messages"):
        assert names(protocol) == ["exec_command", "write"]
    assert [t["name"] for t in upstream(codex(), "messages", None)["tools"]] == [
        "write",
        "exec_command",
    ]
