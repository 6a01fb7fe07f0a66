"""``interpose policy try``: who answers what. The chain is started with the policy, a few turns go
through it, and a table tells which model each was given, and why."""

from __future__ import annotations

import argparse
import json
import struct
import zlib
from base64 import b64encode
from pathlib import Path
from typing import Any

from ..policy.load import load_policy
from . import UserError
from .chain import Chain, Options

#: What is asked when nothing else is: one of each kind, and the first again.
SAMPLES = (
    "Fix the typo in the README.",
    "Add a --verbose flag to the export command.",
    "There is a race condition in the scheduler; redesign the locking.",
    "image:Make the button look like this.",
    "Fix the typo in the README.",
)


def add_try(commands: Any) -> None:
    """Add ``try`` to the subparsers ``commands``."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "try", help="send a few turns through a policy and say who answered, and why"
    )
    parser.add_argument("policy", metavar="POLICY")
    parser.add_argument(
        "messages", nargs="*", metavar="MESSAGE", help="image:… comes with a picture"
    )
    parser.add_argument("--model", default="", help="the model to ask for (default: none by name)")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 when every turn was answered, 1 when one was not."""
    from .screen import Column, Screen, table

    policy = load_policy(args.policy)
    if policy.empty:
        raise UserError(f"{args.policy} names no model, so there is nobody to choose among")
    rows: list[list[str]] = []
    failed = 0
    file = Path(args.policy).expanduser().resolve()
    options = Options(file, "http://127.0.0.1:9", None, None, record_dir="")
    with Chain(options) as chain:
        for number, message in enumerate(args.messages or SAMPLES):
            _send(chain.url, message, args.model, number)
            row = chain.health("?exchanges=1")["exchanges"][-1]
            route = row["route"]
            named = route.get("name") or route.get("model") or "nobody"
            why = route.get("reason", "")
            if row["error"]:
                failed += 1
                why = f"failed: {row['error']}"
            rows.append([message, named, why])
    columns = [Column(title, text=True, fold=True) for title in ("task", "answered by", "why")]
    screen = Screen()
    screen.print(table(columns, rows, screen.room, title=str(args.policy)))
    return 1 if failed else 0


def _send(url: str, message: str, model: str, number: int) -> None:
    import httpx

    content = [{"type": "input_text", "text": message.removeprefix("image:")}]
    if message.startswith("image:"):
        content.append({"type": "input_image", "image_url": _picture()})
    said = [{"role": "user", "content": content}]
    body = {"model": model, "stream": False, "store": False, "input": said}
    # Each is a thread of its own: what one was given says nothing of the next.
    headers = {"thread-id": f"try-{number}", "content-type": "application/json"}
    try:
        with httpx.Client(trust_env=False, timeout=300, follow_redirects=True) as client:
            client.post(f"{url}/responses", content=json.dumps(body).encode(), headers=headers)
    except httpx.HTTPError as e:
        raise UserError(f"the chain gave no answer: {e}") from None


def _picture() -> str:
    """One red point, as a PNG in a data URL."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        mark = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", mark)

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0\xff\0\0")
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return "data:image/png;base64," + b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(parts)).decode()
