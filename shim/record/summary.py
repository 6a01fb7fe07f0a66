"""One exchange in a line for the log, and in a row for the health page and the recording."""

from __future__ import annotations

from typing import Any

import msgspec

from ..route.choose import Route
from ..turn import Usage


class Row(msgspec.Struct, frozen=True):
    """What one exchange came to.

    ``ms`` in milliseconds: total, first_byte, added by the chain. ``seed`` made the ids:
    it cannot be had again from a body that was redacted. ``edited``: the policy changed the prompt.
    ``session``: what the thread belongs to, where that is told; ``account``: what the turn cost
    (`shim.account.bill.Account`), where it was answered. ``turn`` is the client's own id of it,
    ``policy`` the version that was in force.
    """

    exchange: str
    thread: str | None
    model: str
    route: dict[str, Any]
    codex: bool
    stream: bool
    status: int
    calls: int
    usage: dict[str, int] | None
    ms: dict[str, float | None]
    decisions: list[str]
    seed: str | None = None
    edited: bool = False
    session: str | None = None
    account: dict[str, Any] | None = None
    error: str | None = None
    client: str = ""
    turn: str | None = None
    policy: str = ""
    interpose: int = 1


def route_fields(route: Route | None) -> dict[str, Any]:
    """A route as plain fields, complete enough to replay the exchange without its policy."""
    return msgspec.to_builtins(route) if route else {}


def usage_fields(usage: Usage | None) -> dict[str, int] | None:
    """Token counts under the names of the Responses API."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.input,
        "cached_tokens": usage.cached,
        "cache_write_tokens": usage.cache_write,
        "output_tokens": usage.output,
        "reasoning_tokens": usage.reasoning,
    }


def line(row: Row) -> str:
    """The exchange in one line: model, route, status, time, tokens, calls, or what went wrong."""
    target = f"{row.route['provider']}/{row.route['model']}" if row.route else "no route"
    parts = [
        f"{row.model or '(no model)'} → {target}",
        str(row.status),
        f"{(row.ms['total'] or 0) / 1000:.2f} s",
    ]
    if row.usage:
        cached = f" ({row.usage['cached_tokens']:,} cached)" if row.usage["cached_tokens"] else ""
        parts.append(f"in {row.usage['input_tokens']:,}{cached} out {row.usage['output_tokens']:,}")
    if row.account and row.account["saved"]:
        parts.append(f"saved {row.account['saved']:,}")
    if row.calls:
        parts.append(f"{row.calls} tool call{'s' if row.calls > 1 else ''}")
    if row.error:
        parts.append(f"failed: {row.error}")
    return " · ".join(parts)
