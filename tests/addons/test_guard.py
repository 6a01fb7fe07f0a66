"""What stays when a script is loaded anew, cannot be, or cannot be set up: nothing leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import ctx, exceptions, http
from mitmproxy.addonmanager import Loader
from mitmproxy.addons.save import Save
from mitmproxy.addons.script import ScriptLoader
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import taddons

from addons import guard
from addons.guard import Guard
from addons.runs import run_of
from tests.addons.harness import KEY, TURN, Stages, error, stages

__all__ = ["stages"]


def breaks(*_: object) -> None:
    raise RuntimeError("oops")


def test_it_stands_behind_the_scripts_and_before_what_saves(stages: Stages) -> None:
    scripts, save = ScriptLoader(), Save()
    with taddons.context(scripts, save) as context:
        assert not guard.install() and guard.install()
        chain: list[Any] = context.master.addons.chain
        names = [getattr(addon, "name", type(addon).__name__) for addon in chain]
        assert names.index("ScriptLoader") < names.index(Guard.name) < names.index("Save")


def test_without_a_chain_nothing_is_left_of_a_request(stages: Stages) -> None:
    subject, last = stages.flow(TURN, path=f"/v1/responses?key={KEY}"), Guard()
    subject.request.stream = True
    last.requestheaders(subject)
    assert subject.request.port == 0 and not subject.request.stream
    last.request(subject)
    assert error(subject)[0] == 500 and "not loaded" in error(subject)[1]
    assert KEY not in str(subject.request.headers.fields) + subject.request.path
    assert not subject.request.content


def test_without_a_chain_there_are_no_tunnels(stages: Stages) -> None:
    subject, last = stages.flow(), Guard()
    subject.request = http.Request.make("CONNECT", "http://api.openai.com:443")
    last.http_connect(subject)
    assert error(subject)[0] == 500
    subject.response = None
    subject.client_conn.proxy_mode = ProxyMode.parse("regular")
    stages.fire("http_connect", subject)
    last.http_connect(subject)
    assert subject.response is None


def test_a_turn_that_a_chain_had_begun_has_its_row(stages: Stages) -> None:
    """Its head came to the chain, its body when that was gone."""
    subject, last = stages.flow(TURN), Guard()
    stages.fire("requestheaders", subject)
    last.request(subject)
    assert error(subject)[0] == 500
    stages.loop.run_until_complete(last.response(subject))
    (row,) = stages.services.rows
    assert row["status"] == 500 and "not loaded" in row["error"]


def test_a_turn_belongs_to_the_chain_that_reads_its_body(stages: Stages) -> None:
    subject, former = stages.flow(TURN), object()
    stages.fire("requestheaders", subject)
    stages.run(subject).owner = former
    stages.fire("request", subject)
    run = run_of(subject)
    assert run and run.owner is stages.runner and subject.response is None


def test_a_chain_that_could_not_be_configured_lets_nothing_out(stages: Stages) -> None:
    """Behind the stage that breaks no other one knows its options, the policy least of all."""
    good = stages.all[1].configure
    stages.all[1].configure = breaks
    with pytest.raises(exceptions.OptionsError, match="oops"):
        stages.runner.configure({"policy"})
    subject = stages.send(stages.flow(TURN))
    assert error(subject)[0] == 500 and "could not be set up" in error(subject)[1]
    tunnel = stages.flow()
    tunnel.client_conn.proxy_mode = ProxyMode.parse("regular")
    stages.fire("http_connect", tunnel)
    assert error(tunnel)[0] == 500
    taken: list[set[str]] = []
    stages.all[1].configure = good
    stages.all[2].configure = taken.append
    stages.runner.configure({"anything"})
    assert taken == [{"anything", "policy"}]
    assert stages.send(stages.flow(TURN)).response is None


@pytest.mark.parametrize("option", ["policy", "default_model", "record_rotate", "body_limit"])
def test_a_script_that_is_loaded_anew_does_not_end_the_process(
    stages: Stages, option: str, tmp_path: Path
) -> None:
    stages.services.running = False
    stages.runner.load(Loader(ctx.master))
    broken = tmp_path / "broken.yaml"
    broken.write_text("models: 7")
    with pytest.raises(exceptions.OptionsError):
        ctx.options.update(**{option: str(broken)})
    assert stages.send(stages.flow(TURN)).response is None


def test_other_options_are_taken_back(stages: Stages) -> None:
    for name, value in (
        ("stream_large_bodies", "1k"),
        ("ignore_hosts", ["."]),
        ("allow_hosts", ["."]),
        ("tcp_hosts", ["."]),
        ("mode", ["socks5"]),
        ("body_limit", "much"),
    ):
        if name not in ctx.options:
            continue
        stages.services.running = True
        before = getattr(ctx.options, name)
        with pytest.raises(exceptions.OptionsError):
            ctx.options.update(**{name: value})
        assert getattr(ctx.options, name) == before
        assert stages.send(stages.flow(TURN)).response is None


def test_running_and_done_can_be_called_from_sync_code(stages: Stages) -> None:
    async def both() -> None:
        assert isinstance(stages.runner.running(), asyncio.Future)
        await stages.runner.done()

    stages.loop.run_until_complete(both())
