"""Spans of a real chain, as a collector on the loopback gets them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.chain import Chain, poll, start_that_fails
from tests.e2e.test_journal import ANSWER, CHAT, HEADERS, KEY, TURN
from tests.e2e.upstreams import Answer, Upstream

PROMPT = "a prompt nobody else shall read"


def test_each_exchange_is_a_span_at_the_collector() -> None:
    collector = Upstream([Answer(200, {"content-type": "application/x-protobuf"}, [b""])])
    with Upstream([ANSWER]) as upstream, collector:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=mine,team=red",
        }
        # Whether or not anything is recorded.
        options = {**CHAT, "otel": "true", "record_dir": ""}
        with Chain(upstream.url, options=options, env=env) as chain:
            turn = {**TURN, "input": PROMPT}
            chain.post("/v1/responses", json=turn, headers=HEADERS)
            poll(collector.posts, what="a span")
            chain.post("/v1/responses", json=turn, headers=HEADERS)
        # The last ones come with the end of the chain.
        bodies = [gzip.decompress(seen.body) for seen in collector.seen]
    told = [ExportTraceServiceRequest.FromString(body) for body in bodies]
    assert {seen.path for seen in collector.seen} == {"/v1/traces"}
    resources = [r for one in told for r in one.resource_spans]
    names = {a.key: a.value.string_value for a in resources[0].resource.attributes}
    assert names["service.name"] == "mine" and names["team"] == "red"
    spans = [s for r in resources for scope in r.scope_spans for s in scope.spans]
    assert [s.name for s in spans] == ["chat m", "chat m"]
    assert all(s.end_time_unix_nano > s.start_time_unix_nano for s in spans)
    for one in told:
        assert PROMPT not in str(one) and "hello" not in str(one) and KEY not in str(one)


@pytest.mark.full
def test_a_collector_that_is_not_there_stops_nothing() -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    options = {**CHAT, "otel": "true"}
    with Upstream([ANSWER]) as upstream, Chain(upstream.url, options=options, env=env) as chain:
        for _ in range(3):
            got = chain.post("/v1/responses", json=TURN, headers=HEADERS)
            assert b"response.completed" in got.content
        poll(lambda: "exporting span" in chain.log(), what="the exporter's complaint")
        assert chain.stop() == 0 and "Traceback" not in chain.log()


def test_without_the_packages_the_chain_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is not installed cannot be told from what cannot be imported.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['opentelemetry.sdk.trace'] = None\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done, _ = start_that_fails(options={"otel": "true"})
    assert done.returncode == 1
    assert "pip install opentelemetry-sdk" in done.stderr and "Traceback" not in done.stderr
