"""Routes, addresses and headers; what lately failed; whether an upstream can be reached."""

from __future__ import annotations

import asyncio
import json
import ssl

import pytest

from shim.policy.load import MissingVariable, parse_policy
from shim.policy.schema import Policy, Provider
from shim.route.choose import NoRoute, address, choose, headers
from shim.route.failures import Failures, key
from shim.route.probe import Probe
from shim.turn import Failure, Turn
from shim.wire.protocols import codec

POLICY = parse_policy("""
providers: {up: {base_url: "https://up.example/v1", key: k}}
models:
  big: {provider: up, model: vendor/big, images: false}
  own: {provider: reverse}
default: big
""")


def test_the_exact_name_then_the_prefix_then_the_default() -> None:
    assert (choose(POLICY, "big").model, choose(POLICY, "big").images) == ("vendor/big", False)
    assert choose(POLICY, "up:other").model == "other"
    assert choose(POLICY, "gpt-x").model == "vendor/big"
    assert "gpt-x" in choose(POLICY, "gpt-x").reason
    assert choose(POLICY, "x", default="up:y").model == "y"
    assert choose(POLICY, "demo:z").provider == "demo"


def test_the_reverse_target_is_no_third_party_and_the_only_route_without_a_policy() -> None:
    route = choose(Policy(), "any", reverse="chat")
    assert (route.provider, route.model, route.protocol) == ("reverse", "any", "chat")
    assert not route.third_party and not choose(POLICY, "own").third_party
    assert choose(POLICY, "big").third_party


def test_no_route_names_the_nearest_model() -> None:
    bare = parse_policy("models: {big: {provider: demo}}")
    with pytest.raises(NoRoute, match="did you mean big"):
        choose(bare, "bigg")
    with pytest.raises(NoRoute, match="did you mean big"):
        choose(bare, "", default="bigg")


def test_the_address_of_an_endpoint() -> None:
    azure = Provider("https://x.example/openai/?a=1", query={"api-version": "2026 1"})
    assert address(azure, "/chat/completions") == (
        "https",
        "x.example",
        443,
        "/openai/chat/completions?a=1&api-version=2026+1",
    )
    assert address(Provider("http://[::1]:99/v1/"), "/x") == ("http", "::1", 99, "/v1/x")


def test_key_styles() -> None:
    for auth, name, value in (
        ("bearer", "authorization", "Bearer k"),
        ("api-key", "api-key", "k"),
        ("x-api-key", "x-api-key", "k"),
    ):
        assert headers(Provider("http://x", key="${K}", auth=auth), {"K": "k"}) == {name: value}
    assert headers(Provider("http://x", key="k", auth="none", headers={"X-A": "b"})) == {"x-a": "b"}
    with pytest.raises(MissingVariable):
        headers(Provider("http://x", key="${K}"), {})


def asked(text: str, **metadata: str) -> Turn:
    body = {"model": "m", "input": text, "client_metadata": metadata}
    return codec("responses").read_request(json.dumps(body).encode())


def test_a_retry_with_other_metadata_is_the_same_request() -> None:
    assert key("thread", asked("hi", turn="1")) == key("thread", asked("hi", turn="2"))
    assert key("thread", asked("hi")) != key("other", asked("hi"))


def test_a_failure_is_recalled_once_and_not_for_long() -> None:
    now = [0.0]
    failures = Failures(5, lambda: now[0])
    mine, other = key("thread", asked("body")), key("thread", asked("other"))
    failures.note(mine, Failure("down"))
    assert failures.recall(other) is None
    found = failures.recall(mine)
    assert found == (Failure("down"), frozenset()) and failures.recall(mine) is None
    failures.note(mine, Failure("down"))
    now[0] = 6
    assert failures.recall(mine) is None


def test_the_probe_says_why_and_remembers_for_a_while() -> None:
    async def run() -> None:
        hits = 0

        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal hits
            hits += 1
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        now = [0.0]
        probe = Probe(ssl.create_default_context, lambda: now[0])
        here = ("http", "127.0.0.1", port)
        assert await asyncio.gather(probe.check(here), probe.check(here)) == [None, None]
        assert await probe.check(here) is None
        while not hits:
            await asyncio.sleep(0)
        assert hits == 1
        why = await probe.check(("https", "127.0.0.1", port))
        assert why and str(port) in why
        server.close()
        await server.wait_closed()
        assert await probe.check(here) is None, "it answered a moment ago"
        probe.failed(here)
        assert "refused" in (await probe.check(here) or "")
        unknown = await probe.check(("http", "no-such-host.invalid", 80))
        assert unknown and "cannot be found" in unknown

    asyncio.run(run())
