"""Who a request is from behind a trusted proxy: for its cookie, in duplicates, failures and limits."""

from __future__ import annotations

from typing import Any

import pytest
from mitmproxy import ctx, exceptions

from addons.quotas import who
from shim.client import facts_of
from tests.addons.harness import TURN, Stages, stages
from tests.addons.test_front_door import FAR, KEY, OTHER, ask, cookie, head, keyed, sign_in, status

__all__ = ["keyed", "stages"]


def test_behind_a_proxy_with_tls_the_cookie_is_for_tls(keyed: Stages) -> None:
    ctx.options.update(trusted_proxies=["127.0.0.1"])
    far = {"x_forwarded_for": FAR[0], "x_forwarded_proto": "https", "x_forwarded_host": "box:8443"}
    done = sign_in(keyed, **far, origin="https://box:8443")
    assert status(done) == 303 and head(done, "set-cookie").startswith("__Host-interpose-8080=")
    assert head(done, "set-cookie").endswith("; Secure")
    assert status(ask(keyed, "/dashboard", **far, **cookie(done))) == 200
    assert status(ask(keyed, "/dashboard", **cookie(done))) == 401, "and for nothing else"
    assert status(ask(keyed, "/picker", **far, **cookie(done))) == 403, "for this machine only"


def test_a_trusted_proxy_that_is_none(stages: Stages) -> None:
    stages.services.running = True
    with pytest.raises(
        exceptions.OptionsError, match=r"trusted_proxies: 'proxy.lan' is no address"
    ):
        ctx.options.update(trusted_proxies=["proxy.lan"])


def duplicates(stages: Stages, *clients: dict[str, str]) -> int:
    """How many of the same turn, sent by these at once, are taken for duplicates."""
    before = stages.services.metrics.duplicates
    for headers in clients:
        stages.send(stages.flow(TURN, **headers))
    return stages.services.metrics.duplicates - before


def test_two_clients_behind_one_proxy_are_two(keyed: Stages) -> None:
    ctx.options.update(trusted_proxies=["127.0.0.1"])
    key, other = {"x_api_key": KEY}, {"x_api_key": OTHER}
    at = [{"x_forwarded_for": f"192.0.2.{n}"} for n in (1, 2)]
    assert duplicates(keyed, {**key, **at[0]}, {**key, **at[1]}) == 0
    assert duplicates(keyed, {**key, **at[0]}) == 1
    assert duplicates(keyed, {**other, **at[0]}) == 0, "two keys never share"
    thread = {"thread_id": "t"}
    assert duplicates(keyed, {**key, **thread}, {**other, **thread}) == 0
    # A session goes before the address, which may change.
    assert duplicates(keyed, {**key, **thread, **at[1]}) == 1
    claude = {"x_claude_code_session_id": "s"}
    assert duplicates(keyed, {**key, **claude, **at[0]}, {**key, **claude, **at[1]}) == 1


def test_failures_and_limits_are_theirs_alone(keyed: Stages) -> None:
    ctx.options.update(trusted_proxies=["127.0.0.1"])

    def asks(key: str, peer: str, **more: str) -> tuple[str, Any]:
        run = keyed.run(keyed.send(keyed.flow(TURN, x_api_key=key, x_forwarded_for=peer, **more)))
        assert run.intake
        facts = facts_of(run.intake.headers, run.intake.turn, run.intake.request.owner)
        return run.intake.dedupe_key, who(run.intake, facts)

    one, two = asks(KEY, "192.0.2.1"), asks(KEY, "192.0.2.2")
    assert one[0] != two[0] and one[1].session != two[1].session and one[1].key == two[1].key
    other = asks(OTHER, "192.0.2.1")
    assert other[0] != one[0] and other[1].session != one[1].session and other[1].key != one[1].key
    named = [asks(key, f"192.0.2.{n}", session_id="s") for n, key in enumerate((KEY, KEY, OTHER))]
    assert named[0] == named[1] and named[0][1].session != named[2][1].session
