"""One exchange in a line for the log, and in a row for the health page and the recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ..notes import Note
from ..route.choose import Route
from ..shown import line, short
from ..turn import Usage

#: Names come from clients and providers: so many characters of one are told.
_LONGEST_NAME = 200


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
    decisions: list[Note]
    repairs: int = 0
    seed: str | None = None
    edited: bool = False
    session: str | None = None
    account: dict[str, Any] | None = None
    error: str | None = None
    client: str = ""
    turn: str | None = None
    policy: str = ""
    interpose: int = 2


def stages(row: Mapping[str, Any]) -> frozenset[str]:
    """The stages that have decided something in a row."""
    return frozenset(text.partition(":")[0] for text in decisions(row))


def decisions(row: Mapping[str, Any]) -> list[str]:
    """The decisions in a row as sentences, each behind its stage; older recorders wrote these."""
    texts = []
    for note in row.get("decisions") or ():
        whole = isinstance(note, dict)
        texts.append(f"{note.get('stage')}: {note.get('text')}" if whole else str(note))
    return texts


def repairs(row: Mapping[str, Any]) -> int:
    """How many tool calls were made of text, or mended."""
    if "repairs" in row:
        return int(row["repairs"] or 0)
    return sum(text.startswith("repair:") for text in decisions(row))


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


def told(row: dict[str, Any]) -> str:
    """An exchange in one line, by its row as any version recorded it: model, route, status, time,
    tokens, calls, or what went wrong."""
    route, usage, calls = row.get("route"), row.get("usage"), row.get("calls") or 0
    target = f"{route.get('provider')}/{route.get('model')}" if route else "no route"
    model = str(row.get("model") or "(no model)")
    parts = [
        f"{short(model, _LONGEST_NAME)} → {short(target, _LONGEST_NAME)}",
        str(row.get("status")),
        f"{((row.get('ms') or {}).get('total') or 0) / 1000:.2f} s",
    ]
    if usage:
        cached = usage.get("cached_tokens")
        cache = f" ({cached:,} cached)" if cached else ""
        parts.append(f"in {usage['input_tokens']:,}{cache} out {usage['output_tokens']:,}")
    if saved := (row.get("account") or {}).get("saved"):
        parts.append(f"saved {saved:,}")
    if calls:
        parts.append(f"{calls} tool call{'s' if calls > 1 else ''}")
    if row.get("error"):
        parts.append(f"failed: {row['error']}")
    return line(" · ".join(parts))


#: What a flow is marked with in mitmproxy's lists, by the emoji's name there.
FAILED, REPAIRED, SERVED, SAVED, MOVED, CALLED = SIGNS = {
    ":x:": "❌",
    ":wrench:": "🔧",
    ":repeat:": "🔁",
    ":scissors:": "✂",
    ":twisted_rightwards_arrows:": "🔀",
    ":hammer:": "🔨",
}


def mark(row: dict[str, Any]) -> str:
    """The name of the emoji for an exchange: what was out of the ordinary, else its tool calls."""
    decided = stages(row)
    signs = (
        (bool(row.get("error")), FAILED),
        (bool(repairs(row)), REPAIRED),
        ("replay" in decided, SERVED),
        (bool((row.get("account") or {}).get("saved")), SAVED),
        ("failover" in decided, MOVED),
        (bool(row.get("calls")), CALLED),
    )
    return next((sign for holds, sign in signs if holds), "")


#: The field of a flow's metadata that holds the row; mitmproxy keeps metadata in flow files.
KEY = "interpose"
#: The same of the policy that was in force, as JSON, in the first flow of a file under it.
POLICY = "interpose.policy"


def comment(leg: str, row: dict[str, Any], hide: Callable[[str], str] = str) -> str:
    """A flow's comment, plain text without what ``hide`` takes out: its leg of an exchange in one
    line, which mitmproxy's lists show; on the next ones the client, the session, each decision."""
    id = row.get("session") or row.get("thread")
    parts = [
        f"{SIGNS.get(mark(row), '')} {leg} · {told(row)}",
        " · ".join(filter(None, (row.get("client"), f"session {id}" if id else ""))),
        *decisions(row),
    ]
    # A secret of several lines is found only while they are several.
    lines = [" ".join(hide(part).split()) for part in parts if part]
    # mitmweb's list shows all lines as one, and puts one that has room to the right.
    return "\n· ".join(map(line, lines))


def metadata(leg: str, row: dict[str, Any], hide: Callable[[str], str] = str) -> dict[str, str]:
    """The same for programs, as a flow's metadata: the row as JSON, with its leg."""
    return {KEY: hide(msgspec.json.encode({"leg": leg, **row}).decode())}


def row(metadata: Mapping[str, Any], comment: str) -> dict[str, Any]:
    """The row of a flow, with its leg, as this version or an older one wrote it down; empty where
    the flow is none of the chain's. Older ones wrote it as the comment."""
    text = metadata.get(KEY, comment)
    try:
        fields = msgspec.json.decode(text) if isinstance(text, str) and text else {}
    except msgspec.DecodeError:
        return {}
    if not (isinstance(fields, dict) and fields.keys() >= {"interpose", "exchange", "leg"}):
        return {}
    fields.pop("line", None)
    return fields
