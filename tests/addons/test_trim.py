"""mitmweb's list is kept short, with mitmproxy's own View; nothing else loses a flow."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from mitmproxy import ctx, exceptions, http
from mitmproxy.addons.view import View
from mitmproxy.io import FlowReader
from mitmproxy.test import taddons, tflow

from addons.services import Services
from addons.trim import Trim
from tests.addons.harness import ANSWER, CODEX, TURN, Stages, stages

__all__ = ["stages"]


class Watched:
    """A view and the addon, and flows that pass them as mitmproxy lets them."""

    def __init__(self, keep: int, view: bool = True) -> None:
        services = Services()
        services.running = True
        self.trim, self.view = Trim(services), View()
        parts = [self.trim, *([self.view] if view else [])]
        with taddons.context(*parts) as self.context:
            self.context.configure(self.trim, view_keep=keep)

    def begin(self) -> http.HTTPFlow:
        flow = tflow.tflow(live=True)
        self.view.requestheaders(flow)
        return flow

    def finish(self, flow: http.HTTPFlow, broken: bool = False) -> http.HTTPFlow:
        with self.context:
            if broken:
                flow.error = tflow.terr()
                self.trim.viewed(flow, None)
                self.view.error(flow)
            else:
                flow.response = http.Response.make()
                self.trim.viewed(flow, None)
                self.view.response(flow)
        flow.live = False
        return flow

    def turn(self) -> http.HTTPFlow:
        return self.finish(self.begin())

    @property
    def held(self) -> list[http.HTTPFlow]:
        return list(self.view.resolve("@all"))


def test_the_oldest_of_the_finished_go() -> None:
    watched = Watched(3)
    flows = [watched.finish(watched.begin(), broken=n % 2 == 0) for n in range(10)]
    assert watched.held == flows[-3:] == list(watched.view)


def test_what_is_under_way_stays_and_is_answered() -> None:
    watched = Watched(2)
    first, held_back = watched.begin(), watched.begin()
    held_back.intercept()
    created = tflow.tflow(live=False)
    watched.view.add([created])
    later = [watched.turn() for _ in range(5)]
    assert watched.held == [first, held_back, created, *later[-2:]]
    assert first.error is None and first.live and held_back.intercepted
    watched.finish(first)
    assert watched.held == [first, held_back, created, later[-1]]
    watched.turn()
    assert first not in watched.held


def test_what_a_user_marked_stays_beyond_the_others() -> None:
    watched = Watched(3)
    mine, ours, both = (watched.turn() for _ in range(3))
    mine.marked = ":star:"
    row = json.dumps({"interpose": 1, "exchange": "x", "leg": "client", "calls": 2})
    ours.marked, ours.comment = ":hammer:", row
    both.marked, both.comment = ":x:", row
    later = [watched.turn() for _ in range(4)]
    assert ours not in watched.held
    assert watched.held == [mine, both, *later[-2:]], watched.held


def test_what_was_filtered_away_goes_too() -> None:
    watched = Watched(2)
    with watched.context:
        watched.view.set_filter_cmd("~u nothing-has-this")
    flows = [watched.turn() for _ in range(5)]
    assert not len(watched.view) and watched.held == flows[-2:]


def test_zero_keeps_all_and_less_is_refused() -> None:
    watched = Watched(0)
    assert len([watched.turn() for _ in range(9)]) == len(watched.held)
    with pytest.raises(exceptions.OptionsError, match="view_keep must be 0 or more, is -1"):
        with watched.context:
            watched.context.configure(watched.trim, view_keep=-1)


def test_a_recording_that_is_read_is_shown_whole() -> None:
    watched = Watched(2)
    for _ in range(5):
        flow = tflow.tflow(resp=True, live=False)
        watched.view.requestheaders(flow)
        watched.finish(flow)
    assert len(watched.held) == 5


def test_without_a_view_nothing_happens() -> None:
    watched = Watched(1, view=False)
    flows = [tflow.tflow(resp=True, live=True) for _ in range(4)]
    for flow in flows:
        with watched.context:
            watched.trim.viewed(flow, None)
            watched.trim.viewed(flow, None)
    assert all(flow.live and not flow.error for flow in flows)


def test_both_legs_of_turns_go_and_the_files_have_them_all(stages: Stages, tmp_path: Path) -> None:
    view = View()
    ctx.master.addons.add(view)
    ctx.options.update(upstream="chat", view_keep=4)
    for _ in range(6):
        flow = stages.flow(TURN, **CODEX)
        view.requestheaders(flow)
        stages.send(flow)
        stages.answer(flow, ANSWER, content_type="text/event-stream")
        flow.live = False
    assert view.store_count() == 4
    stages.done()
    stages.loop = asyncio.new_event_loop()
    (file,) = tmp_path.glob("*.flow")
    with file.open("rb") as source:
        assert len(list(FlowReader(source).stream())) == 12
