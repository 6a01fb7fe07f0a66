"""The result of the token benchmark as a table, and as a page with a picture."""

from __future__ import annotations

from typing import Any

from benchmarks.tokens.biller import Bill

#: What a cached token costs, as a share of the full price.
SHARES = {"automatic": 0.25, "breakpoints": 0.1}
BASE = "interpose, all off"


def billed(row: dict[str, Any], r: float) -> float:
    """The billed-equivalent input of one session, in tokens."""
    return sum(Bill(total, read, written).equivalent(r) for total, read, written in row["bills"])


def _cell(row: dict[str, Any] | None, base: dict[str, Any] | None, r: float) -> str:
    if row is None or row["failed"]:
        return "failed" if row else "–"
    if base is None or base["failed"]:
        return f"{billed(row, r) / 1000:.0f} k"
    mark = "" if row["files"] == base["files"] else " ≠files"
    hit = _hits([row]) - _hits([base])
    lower = " (hits lower)" if hit < -0.0005 else ""
    return f"{billed(base, r) / billed(row, r):.2f}{mark}{lower}"


def _hits(rows: list[dict[str, Any]]) -> float:
    """The share of input that was read from the cache."""
    read = sum(bill[1] for row in rows for bill in row["bills"])
    return read / max(1, sum(bill[0] for row in rows for bill in row["bills"]))


def table(result: dict[str, Any], kind: str) -> list[str]:
    """How many times less each route is billed than the chain with everything off."""
    rows = [row for row in result["rows"] if row["kind"] == kind]
    routes = list(dict.fromkeys(row["route"] for row in rows))
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    found = {(row["route"], row["task"]): row for row in rows}
    r = SHARES[kind]
    lines = ["| task | turns | " + " | ".join(routes) + " |"]
    lines.append("|---|---|" + "---|" * len(routes))
    for task in tasks:
        base = found.get((BASE, task))
        cells = [_cell(found.get((route, task)), base, r) for route in routes]
        turns = base["turns"] if base else 0
        lines.append(f"| {task} | {turns} | " + " | ".join(cells) + " |")
    both = [t for t in tasks if not any(found[k]["failed"] for k in found if k[1] == t)]
    for share in dict.fromkeys((r, *((0.1, 0.5) if kind == "automatic" else ()))):
        cells = []
        for route in routes:
            total = [
                sum(billed(found[(n, t)], share) for t in both if (n, t) in found)
                for n in (BASE, route)
            ]
            cells.append(f"{total[0] / total[1]:.2f}" if all(total) else "–")
        lines.append(f"| **total, r = {share}** | | " + " | ".join(cells) + " |")
    hits = [f"{_hits([found[k] for k in found if k[0] == n and k[1] in both]):.1%}" for n in routes]
    lines.append("| read from the cache | | " + " | ".join(hits) + " |")
    sent = []
    for route in routes:
        all_sent = sum(b[0] for t in both for b in found.get((route, t), {"bills": ()})["bills"])
        sent.append(f"{all_sent / 1e6:.2f} M")
    lines.append("| tokens sent | | " + " | ".join(sent) + " |")
    return lines


def text(result: dict[str, Any]) -> str:
    """Both tables."""
    kinds = dict.fromkeys(row["kind"] for row in result["rows"])
    parts = [f"Tokens by {result['tokenizer']}.", ""]
    for kind in kinds:
        parts += [f"{kind}:", *table(result, kind), ""]
    return "\n".join(parts)


def write_docs(result: dict[str, Any]) -> None:
    """Write docs/tokens.md's tables and its picture."""
