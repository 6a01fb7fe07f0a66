"""Who may see what a running chain tells, what it tells of turns, and that mitmweb keeps no polls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mitmproxy import ctx, http
from mitmproxy.addons.view import View

from tests.addons.harness import ANSWER, CODEX, KEY, TURN, Stages, error, stages

__all__ = ["stages"]

CLIENT_KEY = "client-key-0123456789"
FAR = ("192.0.2.7", 4711)
EVENTS = {"content_type": "text/event-stream"}


def ask(
    stages: Stages, path: str, peer: tuple[str, int] | None = None, **headers: str
) -> http.HTTPFlow:
    flow = stages.flow(path=path, **headers)
    if peer:
        flow.client_conn.peername = peer
    return stages.send(flow)


def status(flow: http.HTTPFlow) -> int:
    assert flow.response
    return flow.response.status_code


def live(stages: Stages, query: str = "live=1") -> dict[str, Any]:
    flow = ask(stages, f"/health?{query}")
    assert flow.response and status(flow) == 200
    return dict(json.loads(flow.response.content or b""))


def going(stages: Stages, session: str) -> list[dict[str, Any]]:
    return [row for row in live(stages)["under_way"] if row["session"] == session]


def needs_key(stages: Stages) -> None:
    ctx.options.update(client_keys=[CLIENT_KEY], allow_remote=True, served_hosts=["box"])


@pytest.mark.parametrize(
    "path", ["/dashboard", "/metrics", "/health?live=1", "/health?live", "/health?exchanges=1",
             "/dashboard?session=x"]
)  # fmt: skip
def test_what_tells_of_sessions_is_for_those_with_a_key(stages: Stages, path: str) -> None:
    assert status(ask(stages, path)) == 200, "without client keys this machine needs none"
    needs_key(stages)
    assert status(ask(stages, path)) == 401
    assert status(ask(stages, path, ("::1", 1))) == 401
    assert status(ask(stages, path, FAR)) == 401
    assert status(ask(stages, path, FAR, authorization="Bearer wrong")) == 401
    assert status(ask(stages, path, FAR, authorization=f"Bearer {CLIENT_KEY}")) == 200
    assert status(ask(stages, path, FAR, x_api_key=CLIENT_KEY)) == 200


def test_bare_health_is_open_and_tells_its_state_only(stages: Stages) -> None:
    told = json.loads(ask(stages, "/health").response.content)  # type: ignore[union-attr,arg-type]
    assert told["policy"] and told["recording"]
    needs_key(stages)
    for peer in (None, FAR):
        flow = ask(stages, "/health", peer)
        assert status(flow) == 200 and flow.response
        assert json.loads(flow.response.content or b"") == {"status": "ok"}
    keyed = ask(stages, "/health", FAR, x_api_key=CLIENT_KEY)
    assert keyed.response and json.loads(keyed.response.content or b"") == told


@pytest.mark.parametrize("path", ["/dashboard", "/metrics", "/health", "/health?live=1"])
def test_a_foreign_host_or_page_is_refused(stages: Stages, path: str) -> None:
    for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}):
        flow = ask(stages, path, **headers)
        assert error(flow)[0] == 403
    assert status(ask(stages, path, origin="http://127.0.0.1:8080")) == 200
    posted = stages.send(stages.flow({}, path=path))
    assert status(posted) == 405


def test_a_turn_is_under_way_until_it_has_ended(stages: Stages) -> None:
    ctx.options.update(upstream="chat")
    flow = stages.send(stages.flow({**TURN, "model": f"m-{KEY}"}, thread_id="streams"))
    (row,) = going(stages, "streams")
    assert row["state"] == "waiting" and row["seconds"] >= 0
    assert KEY not in json.dumps(row)
    flow.response = http.Response.make()
    flow.response.headers = http.Headers([(b"content-type", b"text/event-stream")])
    stages.fire("responseheaders", flow)
    assert callable(flow.response.stream)
    flow.response.stream(ANSWER[:50])
    assert [row["state"] for row in going(stages, "streams")] == ["streaming"]
    totals = live(stages)["live"]["totals"]
    assert totals["under_way"] >= 1 and totals["turns"] == 0
    flow.response.stream(ANSWER[50:])
    flow.response.stream(b"")
    stages.fire("response", flow)
    page = live(stages, "live=1&session=streams")
    assert not going(stages, "streams") and page["live"]["totals"]["turns"] == 1
    assert [turn["turn"] for turn in page["live"]["turns"]["rows"]] == [1]
    assert page["live"]["said"] == "No errors."
    assert KEY not in json.dumps(page)


def test_a_client_that_leaves_is_not_under_way_for_ever(stages: Stages) -> None:
    ctx.options.update(upstream="chat")
    flow = stages.send(stages.flow(TURN, thread_id="leaves"))
    assert going(stages, "leaves")
    stages.fire("error", flow)
    assert not going(stages, "leaves")


def test_a_failed_turn_counts_as_an_error(stages: Stages) -> None:
    ctx.options.update(upstream="chat")
    flow = stages.send(stages.flow(TURN, thread_id="t2"))
    body = json.dumps({"error": {"message": f"no such key: {KEY}"}}).encode()
    stages.answer(flow, body, 400, content_type="application/json")
    told = live(stages)["live"]
    assert told["totals"]["errors"] == 1 and told["said"] == "Errors: 1."
    assert told["totals"]["turns"] == told["totals"]["billed"] == 0, "what is refused is not billed"
    (session,) = told["sessions"]
    assert "no such key" in session["error"] and KEY not in session["error"]
    assert told["minutes"] == [{"ago": 0, "answered": 0, "failed": 1}]


def test_polled_pages_leave_mitmweb_at_once_and_turns_stay(stages: Stages) -> None:
    ctx.master.addons.add(view := View())
    ctx.options.update(upstream="chat")
    killed = []
    for path in ("/health?live=1", "/health", "/metrics", "/dashboard"):
        flow = stages.flow(path=path)
        view.requestheaders(flow)
        assert view.store_count() == 1
        stages.send(flow)
        stages.fire("response", flow)
        view.response(flow)
        assert view.store_count() == 0, path
        killed.append(bool(flow.error) or not flow.live)
    assert not any(killed), "they are answered all the same"
    refused = stages.flow(path="/health", host="evil.example")
    view.requestheaders(refused)
    stages.send(refused)
    stages.fire("response", refused)
    assert view.store_count() == 1, "what was refused is worth a look"


def test_what_mitmweb_holds_has_no_key_though_its_filter_hides_it(stages: Stages) -> None:
    ctx.master.addons.add(view := View())
    ctx.options.update(upstream="chat")
    view.set_filter_cmd("~u nothing-has-this")
    flow = stages.flow(TURN, **CODEX)
    view.requestheaders(flow)
    stages.answer(stages.send(flow), ANSWER, **EVENTS)
    held = view.resolve("@all")
    assert len(held) == 2 and not len(view)
    for one in held:
        assert KEY not in str(one.get_state())
