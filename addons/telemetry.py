"""OpenTelemetry: a span for each exchange, once it has ended."""

from __future__ import annotations

import asyncio

from mitmproxy import ctx

from addons.exchange import Chain
from addons.stop import stop
from shim.live.spans import Spans, Unavailable


class Telemetry:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def load(self, loader) -> None:  # type: ignore[no-untyped-def]
        loader.add_option(
            "otel", bool, False, "Send an OpenTelemetry span per exchange, as OTEL_* variables say."
        )

    def configure(self, updated: set[str]) -> None:
        if "otel" not in updated or ctx.options.otel == bool(self._chain.spans):
            return
        former, self._chain.spans = self._chain.spans, None
        if former:
            former.close()
            return
        try:
            self._chain.spans = Spans()
        except Unavailable as e:
            stop(str(e), running=self._chain.running)

    async def done(self) -> None:
        if spans := self._chain.spans:
            await asyncio.to_thread(spans.close)
            self._chain.spans = None
