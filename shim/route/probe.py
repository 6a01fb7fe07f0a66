"""Finds out whether an upstream can be reached before a turn is handed over, TLS included.

A failure before the first byte cannot be answered in mitmproxy, so it has to be known beforehand.
An upstream that answered lately is not asked again.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable

Endpoint = tuple[str, str, int]

_GOOD_FOR = 30.0
_BAD_FOR = 1.0
_PATIENCE = 10.0


class Probe:
    """``check`` an endpoint (scheme, host, port): None when it can be reached, else why not."""

    def __init__(
        self, tls: Callable[[], ssl.SSLContext], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tls = tls
        self._clock = clock
        self._known: dict[Endpoint, tuple[float, str | None]] = {}
        self._running: dict[Endpoint, asyncio.Task[str | None]] = {}

    def answered(self, endpoint: Endpoint) -> None:
        """Note that ``endpoint`` just answered a request."""
        self._known[endpoint] = (self._clock() + _GOOD_FOR, None)

    def failed(self, endpoint: Endpoint) -> None:
        """Forget that ``endpoint`` was reachable."""
        self._known.pop(endpoint, None)

    async def check(self, endpoint: Endpoint) -> str | None:
        """Why ``endpoint`` cannot be reached, as a sentence's end; None when it can."""
        until, why = self._known.get(endpoint, (0.0, None))
        if until > self._clock():
            return why
        task = self._running.get(endpoint)
        if task is None:
            task = asyncio.create_task(self._try(endpoint))
            self._running[endpoint] = task
            task.add_done_callback(lambda _: self._running.pop(endpoint, None))
        why = await asyncio.shield(task)
        self._known[endpoint] = (self._clock() + (_BAD_FOR if why else _GOOD_FOR), why)
        return why

    async def _try(self, endpoint: Endpoint) -> str | None:
        scheme, host, port = endpoint
        tls = self._tls() if scheme == "https" else None
        try:
            async with asyncio.timeout(_PATIENCE):
                _, writer = await asyncio.open_connection(
                    host, port, ssl=tls, server_hostname=host if tls else None
                )
        except TimeoutError:
            return f"{host}:{port} did not answer within {_PATIENCE:g} s"
        except socket.gaierror:
            return f"the host {host} cannot be found"
        except ssl.SSLCertVerificationError as e:
            return f"the certificate of {host}:{port} is not trusted: {e.verify_message}"
        except ssl.SSLError as e:
            return f"{host}:{port} does not speak TLS properly: {e.reason or e}"
        except ConnectionRefusedError:
            return f"nothing listens at {host}:{port} (connection refused)"
        except OSError as e:
            return f"{host}:{port} cannot be reached: {e.strerror or e}"
        writer.close()
        return None
