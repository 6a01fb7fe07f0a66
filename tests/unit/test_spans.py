"""Spans of exchanges, as OpenTelemetry's own SDK has them."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.trace import SpanKind, StatusCode

from shim.live.spans import Spans, Unavailable
from shim.record.redact import Redactor

AT = 1_800_000_000.0
KEY = "sk-planted-9876543210"
ROW: dict[str, Any] = {
    "exchange": "x-1", "session": "s-1", "thread": "t-1", "client": "codex", "model": "fast",
    "route": {"provider": "east", "model": "vendor/big", "reason": "the model's name", "name": "fast",
              "base_url": "https://east.example/v1"},
    "stream": True, "status": 200, "calls": 2, "policy": "abc", "decisions": ["repair: one call"],
    "usage": {"input_tokens": 70, "cached_tokens": 50, "output_tokens": 9, "reasoning_tokens": 4},
    "ms": {"total": 1500.0, "first_byte": 250.0, "added": 2.0}, "error": None,
}  # fmt: skip


def span(row: dict[str, Any], **headers: str) -> ReadableSpan:
    kept = InMemorySpanExporter()
    spans = Spans(SimpleSpanProcessor(kept))
    spans.add(row, AT, headers, Redactor([KEY]).data)
    (made,) = kept.get_finished_spans()
    spans.close()
    return made


def test_a_span_says_what_the_conventions_want() -> None:
    made = span(ROW)
    assert (made.name, made.kind) == ("chat vendor/big", SpanKind.CLIENT)
    assert made.start_time == AT * 1e9 and made.end_time == (AT + 1.5) * 1e9
    assert made.status.status_code is StatusCode.UNSET
    assert made.attributes == {
        gen_ai.GEN_AI_OPERATION_NAME: "chat",
        gen_ai.GEN_AI_PROVIDER_NAME: "east",
        gen_ai.GEN_AI_REQUEST_MODEL: "vendor/big",
        gen_ai.GEN_AI_REQUEST_STREAM: True,
        gen_ai.GEN_AI_CONVERSATION_ID: "s-1",
        gen_ai.GEN_AI_USAGE_INPUT_TOKENS: 70,
        gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS: 9,
        gen_ai.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: 50,
        gen_ai.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: 4,
        gen_ai.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: 0.25,
        "server.address": "east.example",
        "server.port": 443,
        "http.response.status_code": 200,
        "interpose.model.asked": "fast",
        "interpose.route": "fast",
        "interpose.route.reason": "the model's name",
        "interpose.policy": "abc",
        "interpose.client": "codex",
        "interpose.flow": "x-1",
        "interpose.tool_calls": 2,
        "interpose.repairs": 1,
    }
    assert made.resource.attributes["service.name"] == "interpose"


def test_an_error_is_told_by_its_kind_and_not_by_its_words() -> None:
    made = span({**ROW, "status": 429, "error": "too much of <your prompt>"})
    assert made.status.status_code is StatusCode.ERROR and made.attributes
    assert made.attributes["error.type"] == "429" and "prompt" not in made.to_json()
    broken = span({**ROW, "error": "cut off"})
    assert broken.attributes and broken.attributes["error.type"] == "_OTHER"


def test_an_exchange_that_found_no_route_and_a_key_for_a_name() -> None:
    made = span({**ROW, "model": KEY, "route": {}, "status": 404})
    assert made.name == "chat [redacted]" and KEY not in made.to_json()


def test_the_trace_of_the_client_goes_on() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    made = span(ROW, traceparent=f"00-{trace}-b7ad6b7169203331-01")
    assert made.context and f"{made.context.trace_id:032x}" == trace
    assert made.parent and f"{made.parent.span_id:016x}" == "b7ad6b7169203331"


def test_the_name_of_the_service_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    assert span(ROW).resource.attributes["service.name"] == "mine"


def test_without_the_packages_one_sentence_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(Unavailable, match="pip install opentelemetry-sdk"):
        Spans()


def test_another_protocol_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(Unavailable, match="http/protobuf, not grpc"):
        Spans()
