"""`interpose open`: a page of the chain in the browser, signed in by a code that is good once."""

from __future__ import annotations

import argparse
import sys
import webbrowser

from ..exchange.access import PAGES
from .reach import NoChain, address, asked, caller
from .top import SERVED, nearest

#: The pages that are made to be looked at.
_NAMES = ("dashboard", "picker")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "page", nargs="?", choices=_NAMES, default=_NAMES[0], help=f"which one (else {_NAMES[0]})"
    )
    parser.add_argument("--url", help=f"where the chain listens (else the daemon, else {SERVED})")
    parser.add_argument(
        "--print", action="store_true", dest="shown", help="print the address, open nothing"
    )
    parser.epilog = "The address is good once, and for a minute."


def run(args: argparse.Namespace) -> int:
    """Exit code 0; 1 without a chain."""
    page = f"/{args.page}"
    assert page in PAGES
    url = address(nearest() if args.url is None else args.url)
    with caller() as client:
        path = asked(client, url, "POST", "/api/login-code", json={"page": page}).get("path")
    if not isinstance(path, str) or not path.startswith("/"):
        raise NoChain(f"what answers at {url} is no chain of Interpose")
    if not args.shown and _opened(f"{url}{path}"):
        print(f"Opened {url}{page} in the browser.")
        return 0
    print("interpose: open this within a minute; it is good once:", file=sys.stderr)
    print(f"{url}{path}")
    return 0


def _opened(url: str) -> bool:
    try:
        return webbrowser.open(url)
    except (webbrowser.Error, OSError):
        return False
