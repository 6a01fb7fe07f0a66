"""A span for each exchange, by OpenTelemetry's conventions for generative AI.

It says what happened, never what was said. The packages are an extra: nothing here is imported
before somebody wants spans.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from ..record.asked import as_columns

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

_PROTOCOL = "http/protobuf"
_PACKAGES = "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
_NANO = 1e9
#: Seconds at the end, after which nothing is tried again.
_PATIENCE = 2.0
#: What of the journal's columns a span says, under which name.
_TOLD = {
    "session": "gen_ai.conversation.id",
    "input": "gen_ai.usage.input_tokens",
    "output": "gen_ai.usage.output_tokens",
    "cached": "gen_ai.usage.cache_read.input_tokens",
    "written": "gen_ai.usage.cache_creation.input_tokens",
    "status": "http.response.status_code",
    "asked": "interpose.model.asked",
    "route": "interpose.route",
    "reason": "interpose.route.reason",
    "policy": "interpose.policy",
    "client": "interpose.client",
    "flow": "interpose.flow",
    "calls": "interpose.tool_calls",
    "repairs": "interpose.repairs",
    "saved": "interpose.tokens.saved",
    "dollars": "interpose.cost.dollars",
}


class Unavailable(Exception):
    """Spans cannot be sent; the sentence says what to do."""


class Spans:
    """Sends spans, in batches and from a thread of its own, as the OTEL_* variables say.

    ``processor`` takes them instead of the network. Unavailable without the packages.
    """

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        asked = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
        protocol = next((os.environ[name] for name in asked if os.environ.get(name)), _PROTOCOL)
        if protocol != _PROTOCOL:
            raise Unavailable(f"otel sends {_PROTOCOL}, not {protocol}: unset {asked[1]}")
        try:
            from opentelemetry import propagate, trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise Unavailable(f"otel needs more packages: pip install {_PACKAGES}") from None
        named = "OTEL_SERVICE_NAME" in os.environ
        named = named or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        resource = Resource.create({} if named else {"service.name": "interpose"})
        self._exporter = None
        try:
            if processor is None:
                self._exporter = OTLPSpanExporter()
                processor = BatchSpanProcessor(self._exporter)
        except ValueError as e:
            raise Unavailable(f"an OTEL_* variable has no valid value: {e}") from None
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("interpose")
        self._trace, self._parent = trace, propagate.extract

    def add(
        self,
        row: Mapping[str, Any],
        began: float,
        headers: Mapping[str, str],
        hide: Callable[[bytes], bytes] = bytes,
    ) -> None:
        """The span of one exchange, from its row (`summary.Row` as plain fields).

        ``headers`` are the client's, which may name a trace that it belongs to; ``hide`` takes
        keys out of JSON.
        """
        columns = as_columns(row, began)
        said = msgspec.json.decode(hide(msgspec.json.encode(attributes(row, columns))))
        span = self._tracer.start_span(
            f"{said['gen_ai.operation.name']} {said['gen_ai.request.model']}",
            context=self._parent(headers),
            kind=self._trace.SpanKind.CLIENT,
            attributes=said,
            start_time=int(began * _NANO),
        )
        if columns["state"] == "failed":
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(int(columns["ended"] * _NANO))

    def close(self) -> None:
        """Send what is waiting, if it can be sent soon."""
        patience = threading.Timer(_PATIENCE, self._exporter.shutdown if self._exporter else int)
        patience.start()
        self._provider.shutdown()
        patience.cancel()


def attributes(row: Mapping[str, Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    """What a span says of the exchange; errors by their kind, since their words may quote."""
    route, ms = row.get("route") or {}, row.get("ms") or {}
    said: dict[str, Any] = {name: columns[column] for column, name in _TOLD.items()}
    status = columns["status"] or 0
    failed = columns["state"] == "failed"
    address = urlsplit(route.get("base_url") or "")
    said |= {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": route.get("provider"),
        "gen_ai.request.model": str(route.get("model") or row.get("model")),
        "gen_ai.request.stream": bool(row.get("stream")),
        "gen_ai.usage.reasoning.output_tokens": (row.get("usage") or {}).get("reasoning_tokens"),
        "gen_ai.response.time_to_first_chunk": (ms.get("first_byte") or 0) / 1000 or None,
        "server.address": address.hostname,
        "server.port": address.port or {"http": 80, "https": 443}.get(address.scheme),
        "error.type": (str(status) if status >= 400 else "_OTHER") if failed else None,
    }
    return {name: value for name, value in said.items() if value is not None}
