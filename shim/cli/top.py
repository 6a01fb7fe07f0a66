"""``interpose top``: what a running chain does and has come to, refreshed once a second."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.live import Live

from ..daemon.files import Files
from .reach import NoChain, address, asked, caller
from .screen import Screen
from .top_view import lost, view

EVERY = 1.0
#: Where a chain is that `interpose serve` has started.
SERVED = "http://127.0.0.1:8080"
_NUMBERS = {"said", "totals", "sessions", "chain"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        help=f"where the chain listens (else the daemon, else {SERVED})",
    )
    parser.add_argument(
        "--once", action="store_true", help="print it once and end; exit code 1 without a chain"
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON, a line each second without --once"
    )
    parser.epilog = "Ctrl-C ends it. Example: interpose top --url http://127.0.0.1:9090"


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 when it is to print once and no chain answers."""
    url = address(nearest() if args.url is None else args.url)
    screen = Screen()
    with caller() as client:

        def ask() -> dict[str, Any]:
            return _ask(client, url)

        if args.once or not (args.json or screen.is_terminal):
            page = ask()
            print(json.dumps(page)) if args.json else screen.print(view(page, url, screen.room))
            return 0
        try:
            if args.json:
                lines(ask)
            else:
                watch(ask, url, screen)
        except KeyboardInterrupt:
            pass
    return 0


def lines(ask: Callable[[], dict[str, Any]], pause: Callable[[float], None] = time.sleep) -> None:
    """A line of JSON per look, until Ctrl-C; one with ``error`` when no chain answers."""
    while True:
        try:
            page = ask()
        except NoChain as e:
            page = {"error": str(e)}
        print(json.dumps(page), flush=True)
        pause(EVERY)


def watch(
    ask: Callable[[], dict[str, Any]],
    url: str,
    console: Console,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Show it until Ctrl-C; a chain may go meanwhile and come back."""
    last: dict[str, Any] | None = None
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            try:
                last = ask()
                shown = view(last, url, console.width, console.height)
            except NoChain as e:
                shown = lost(str(e), last, url, console.width, console.height)
            live.update(shown, refresh=True)
            pause(EVERY)


def nearest() -> str:
    """The daemon, if it runs; else what `interpose serve` takes."""
    port = Files().who().get("port")
    return f"http://127.0.0.1:{port}" if port else SERVED


def _ask(client: Any, url: str) -> dict[str, Any]:
    """What the chain says; NoChain when none answers there."""
    page = asked(client, url, "GET", "/health", params={"live": "1"})
    live = page.get("live")
    if isinstance(live, dict) and live.keys() >= _NUMBERS and "under_way" in page:
        return page
    if "recording" in page:
        raise NoChain(f"the chain at {url} is of another version, without these numbers")
    raise NoChain(f"what answers at {url} is no chain of Interpose")
