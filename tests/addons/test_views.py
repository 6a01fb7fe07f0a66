"""The content views as mitmproxy uses them, and what its lists show of a turn."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from mitmproxy import contentviews, ctx, http, options
from mitmproxy.addons.view import View
from mitmproxy.io import FlowReader
from mitmproxy.test import taddons, tflow
from mitmproxy.tools.web.app import flow_to_json
from mitmproxy.tools.web.master import WebMaster

from addons.flowfile import row_of
from addons.views import Views
from tests.addons.harness import CODEX, TURN, Stages, stages

pytestmark = pytest.mark.slow

__all__ = ["stages"]

ROOT = Path(__file__).resolve().parents[2]
FLOW = ROOT / "flows" / "apply-patch.flow"
#: The same session as an older recorder wrote it: the row is the comment.
OLD = ROOT / "tests" / "fixtures" / "recordings" / "rows-as-comments.flow"


def recorded(path: Path = FLOW) -> list[http.HTTPFlow]:
    with path.open("rb") as file:
        return [f for f in FlowReader(file).stream() if isinstance(f, http.HTTPFlow)]


@pytest.fixture
def views() -> Views:
    made = Views()
    with taddons.context(made):
        return made


def shown(flow: http.HTTPFlow, message: http.Message | None, view: str = "auto") -> str:
    assert message
    result = contentviews.prettify_message(message, flow, view)
    assert result.syntax_highlight != "error", result.text
    return result.text


def test_turns_are_shown_as_turns_by_themselves(views: Views) -> None:
    client, upstream = recorded()[2:4]
    for flow in (client, upstream):
        assert contentviews.prettify_message(flow.request, flow).view_name == "Turn"
        assert "Helo world" in shown(flow, flow.request)
        assert "call apply_patch" in shown(flow, flow.response)
        assert " events" not in shown(flow, flow.response, "turn-timeline")
        assert shown(flow, flow.request, "turn-timeline") == shown(
            flow, flow.response, "turn-timeline"
        )
        assert "tool exec_command" in shown(flow, flow.response, "turn-tools")
        assert "by the model's name" in shown(flow, flow.response, "turn-exchange")
    assert shown(client, client.response, "raw") == (client.response and client.response.text)


def test_other_traffic_is_left_to_other_views(views: Views) -> None:
    flow = tflow.tflow(resp=True)
    flow.request.path, flow.request.content = "/other", b'{"input": "hi"}'
    flow.request.headers["content-type"] = "application/json"
    assert contentviews.prettify_message(flow.request, flow).view_name == "JSON"
    for view in ("turn", "turn-tools", "turn-timeline", "turn-exchange"):
        assert shown(flow, flow.request, view) and shown(flow, flow.response, view)


def test_the_exchange_tells_what_changed_on_the_way() -> None:
    view = View()
    with taddons.context(view, Views()):
        view.add(recorded())
        flow = recorded()[0]
        told = shown(flow, flow.request, "turn-exchange")
    assert "what changed on the way upstream" in told
    assert "item 1, message developer: " in told


def test_an_older_recording_gets_its_line_and_mark(views: Views) -> None:
    flow = recorded(OLD)[2]
    assert not flow.marked and flow.comment.startswith("{")
    before = row_of(flow)
    views.request(flow)
    assert flow.comment.startswith("🔨 client · test-model → upstream/vendor/model · 200 · ")
    assert row_of(flow) == before and before["leg"] == "client"
    assert flow_to_json(flow)["marked"] == "🔨"
    flow.comment = "a note of my own"
    views.request(flow)
    assert flow.comment == "a note of my own" and row_of(flow) == before
    views.request(tflow.tflow())


def test_the_recorder_writes_line_and_mark(stages: Stages, tmp_path: Path) -> None:
    flow = stages.send(stages.flow(TURN, **CODEX))
    stages.answer(flow, b'{"error": {"message": "broken"}}', 500, content_type="application/json")
    stages.done()
    stages.loop = asyncio.new_event_loop()
    (file,) = tmp_path.glob("*.flow")
    with file.open("rb") as source:
        legs = list(FlowReader(source).stream())
    assert {leg.marked for leg in legs} == {":x:"}
    lines = [leg.comment for leg in legs]
    assert lines[0].startswith("❌ client · m → reverse/m · 500 · ")
    assert lines[1].startswith("❌ upstream · m → reverse/m · 500 · ")
    assert [row_of(leg)["leg"] for leg in legs] == ["client", "upstream"]


def test_a_live_turn_is_listed_as_it_is_recorded(stages: Stages, tmp_path: Path) -> None:
    ctx.master.addons.add(view := View())
    flow = stages.send(stages.flow(TURN, **CODEX))
    stages.answer(flow, b'{"error": {"message": "broken"}}', 500, content_type="application/json")
    (upstream,) = list(view)
    stages.done()
    stages.loop = asyncio.new_event_loop()
    (file,) = tmp_path.glob("*.flow")
    legs = recorded(file)
    assert [leg.comment for leg in legs] == [flow.comment, upstream.comment]
    assert [row_of(leg) for leg in legs] == [row_of(flow), row_of(upstream)]
    assert row_of(flow)["status"] == 500


def test_an_error_of_several_lines_is_one_line_in_the_list(stages: Stages, tmp_path: Path) -> None:
    flow = stages.send(stages.flow(TURN, **CODEX))
    said = b'{"error": {"message": "first\\nsecond \\u001b[31m"}}'
    stages.answer(flow, said, 500, content_type="application/json")
    stages.done()
    stages.loop = asyncio.new_event_loop()
    (file,) = tmp_path.glob("*.flow")
    for leg in recorded(file):
        line, *rest = leg.comment.splitlines()
        assert line.endswith("failed: reverse: first second [31m (HTTP 500)"), line
        assert rest[0] == "· codex · session t1" and all(said.startswith("· ") for said in rest)


def test_mitmweb_shows_the_comment_in_its_list() -> None:
    async def columns() -> list[str]:
        opts = options.Options()
        master = WebMaster(opts, with_termlog=False)
        master.addons.add(Views())
        first = list(master.options.web_columns)
        master.options.update(web_columns=["path"])
        master.addons.add(type("Other", (Views,), {})())
        return [*first, *master.options.web_columns]

    assert asyncio.run(columns()) == ["comment", "time", "path"]


@pytest.mark.parametrize("script", ["main.py", "views.py"])
def test_mitmdump_shows_a_recording(script: str, tmp_path: Path) -> None:
    binary = Path(sys.executable).parent / "mitmdump"
    words = ["-nr", str(FLOW), "-s", str(ROOT / "addons" / script), "--set", "flow_detail=4"]
    done = subprocess.run(
        [binary, *words, "--set", f"confdir={tmp_path}", "--set", f"record_dir={tmp_path}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and "Traceback" not in done.stdout + done.stderr
    assert "2. call apply_patch · call_b" in done.stdout, done.stdout[-2000:] + done.stderr
