"""OpenTelemetry: a span for each exchange, once it has ended."""

from __future__ import annotations

import asyncio

from mitmproxy import ctx

from addons.fatal import fatal
from addons.redaction import hider
from addons.services import Services
from addons.stage import Stage
from shim.exchange.values import Ended
from shim.live.spans import Spans, Unavailable


class Telemetry(Stage):
    observes = True

    def __init__(self, services: Services) -> None:
        self._services = services
        self._spans: Spans | None = None

    def load(self, loader) -> None:  # type: ignore[no-untyped-def]
        loader.add_option(
            "otel", bool, False, "Send an OpenTelemetry span per exchange, as OTEL_* variables say."
        )

    def configure(self, updated: set[str]) -> None:
        if "otel" not in updated or ctx.options.otel == bool(self._spans):
            return
        former, self._spans = self._spans, None
        if former:
            former.close()
            return
        try:
            self._spans = Spans()
        except Unavailable as e:
            fatal(str(e), running=self._services.running)

    def ended(self, ended: Ended) -> None:
        if self._spans is None or ended.intake is None:
            return
        policy = self._services.policies.in_force()
        hide = hider(ended.secrets, ended.decision, policy, "logged").data
        self._spans.add(ended.row, ended.intake.request.started, ended.intake.headers, hide)

    async def done(self) -> None:
        if spans := self._spans:
            await asyncio.to_thread(spans.close)
            self._spans = None
