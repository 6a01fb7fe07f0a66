"""What a client names itself or its models by is looked at like all that is written down of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from shim.policy.load import parse_policy
from tests.addons.harness import ANSWER, KEY, TURN, Stages, stages
from tests.everything import everything
from tests.unit.fixtures import DONE, chunk

__all__ = ["stages"]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("readable", [True, False])
def test_no_secret_comes_anywhere_by_an_id(
    stages: Stages, tmp_path: Path, caplog: pytest.LogCaptureFixture, readable: bool
) -> None:
    caplog.set_level("INFO")
    rules = "[{name: keys, use: api-keys}, {name: customer, pattern: 'CUST-[0-9]+'}]"
    stages.services.policies.put(
        parse_policy(f"""
providers: {{up: {{base_url: "http://127.0.0.1:9/v1"}}}}
models: {{big: {{provider: up}}}}
default: big
redact: {rules}
""")
    )
    body: Any = {**TURN, "model": "CUST-4711"} if readable else f"CUST-4711 {KEY}".encode()
    meta = json.dumps({"turn_id": "CUST-4711"})
    more = {"session_id": "CUST-4711", "x_codex_turn_metadata": meta, "x_thread_id": KEY}
    flow = stages.send(stages.flow(body, content_encoding="" if readable else "CUST-4711", **more))
    pages = [stages.send(stages.flow(path="/health?exchanges")).response]
    if readable:
        stages.answer(flow, ANSWER, content_type="text/event-stream")
    else:
        stages.fire("response", flow)
    assert stages.services.recording.settle
    stages.loop.run_until_complete(stages.services.recording.settle())  # type: ignore[arg-type]
    pages += [
        stages.send(stages.flow(path=p)).response for p in ("/health?exchanges", "/dashboard")
    ]
    stages.fire("done")
    (row,) = stages.services.rows
    told = [json.dumps(row).encode(), caplog.text.encode()]
    told += [page.content or b"" for page in pages if page]
    # Stored responses are to come back as they were.
    told += [everything(p) for p in tmp_path.iterdir() if not p.name.startswith("responses.db")]
    for secret in (b"CUST-4711", KEY.encode()):
        assert not [data for data in told if secret in data]


def test_what_a_model_puts_into_a_word_is_not_written_either(
    stages: Stages, tmp_path: Path
) -> None:
    """A key behind a letter looks like none; that it is one is known from its mask."""
    stages.services.policies.put(
        parse_policy("""
providers: {up: {base_url: "http://127.0.0.1:9/v1"}}
models: {big: {provider: up}}
default: big
redact: [{name: keys, use: api-keys}]
""")
    )
    secret = "sk-proj-Zx81Qm4vTb7Kd2Rw9Yc5Lf3Hs6Jg0"
    flow = stages.send(stages.flow({**TURN, "input": f"use {secret}"}))
    mask = re.findall(rb"MASKED_KEYS_[0-9a-f]{12}", flow.request.content or b"")[0].decode()
    answer = chunk({"content": f"mysql -p{mask}"}, "stop") + DONE
    got = stages.answer(flow, answer, content_type="text/event-stream")
    assert f"mysql -p{secret}".encode() in got
    assert stages.services.recording.settle
    stages.loop.run_until_complete(stages.services.recording.settle())  # type: ignore[arg-type]
    stages.fire("done")
    written = [everything(p) for p in tmp_path.iterdir() if not p.name.startswith("responses.db")]
    assert not [data for data in written if secret.encode() in data]
