"""An answer that cannot be read, or lacks its end, is message to the client and recorded as failed,
whether it passes or is translated."""

from __future__ import annotations

import json

import pytest
from mitmproxy import ctx

from tests.addons.harness import Stages, stages  # noqa: F401
from tests.unit import streams
from tests.unit.fixtures import USAGE, chunk

ASKED = {"model": "m", "stream": True, "input": "hi"}
HI = {"type": "response.output_text.delta", "output_index": 0, "delta": "hi"}
BEGUN = {
    "chat": chunk({"content": "hi"}, usage=USAGE),
    "responses": streams.sse({"type": "response.created", "response": {"id": "r"}})
    + streams.sse(HI),
}


@pytest.mark.parametrize("upstream", sorted(BEGUN))
@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (b"", "broke off in mid-answer"),
        (b"data: {oops\n\n", "sent an event that cannot be read: {oops"),
    ],
)
@pytest.mark.parametrize("agent", ["codex_exec/0.169.0", "python"])
def test_a_turn_that_cannot_be_read_is_told_and_recorded(
    stages: Stages,  # noqa: F811
    upstream: str,
    rest: bytes,
    message: str,
    agent: str,
) -> None:
    ctx.options.update(upstream=upstream)
    turn = stages.send(stages.flow(ASKED, user_agent=agent))
    sent = stages.answer(turn, BEGUN[upstream] + rest, content_type="text/event-stream")
    assert streams.end("responses", sent) == "failed" and message.encode() in sent
    row = json.loads(json.dumps(stages.services.rows[-1]))
    assert row["error"] == f"reverse {message}" and row["status"] == 200


def test_a_passing_turn_in_order_is_recorded_with_its_tokens(stages: Stages) -> None:  # noqa: F811
    ctx.options.update(upstream="responses")
    usage = {"input_tokens": 10, "output_tokens": 4}
    last = {"type": "response.completed", "response": {"id": "r", "usage": usage}}
    data = BEGUN["responses"] + json.dumps(last).encode().join([b"data: ", b"\n\n"])
    turn = stages.send(stages.flow(ASKED))
    assert stages.answer(turn, data, content_type="text/event-stream") == data
    row = stages.services.rows[-1]
    assert row["error"] is None and row["usage"]["input_tokens"] == 10  # type: ignore[index]
