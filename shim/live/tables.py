"""The tables that the terminal and the dashboard show of a running chain: columns and cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

type Form = Literal["text", "count", "money", "time"]


@dataclass(frozen=True)
class Column:
    """``key`` is the field of a row, ``title`` the column's header, ``form`` how a cell is put."""

    key: str
    title: str
    form: Form = "count"


@dataclass(frozen=True)
class Table:
    """``caption`` says what it is about, ``empty`` what stands there when it has no row."""

    name: str
    caption: str
    columns: Sequence[Column]
    empty: str = ""

    def rows(self, page: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """The rows of this table in the page that ``GET /health?live=1`` is."""
        live = page["live"]
        match self.name:
            case "under_way":
                return list(page["under_way"])
            case "totals":
                return [live["totals"]]
            case "turns":
                return list(live["turns"]["rows"])
        return list(live[self.name])


_TOKENS = (
    Column("input", "input"),
    Column("cached", "cached"),
    Column("saved", "saved"),
    Column("billed", "billed"),
    Column("spared", "spared"),
    Column("output", "output"),
    Column("dollars", "$", "money"),
)
CHAIN = Table("chain", "The chain", [Column("what", "what", "text"), Column("says", "now", "text")])
TOTALS = Table(
    "totals",
    "All sessions since the chain started, in tokens",
    [
        Column("sessions", "sessions"),
        Column("under_way", "under way"),
        Column("turns", "turns"),
        Column("errors", "errors"),
        *_TOKENS,
    ],
)
UNDER_WAY = Table(
    "under_way",
    "Turns under way",
    [
        Column("session", "session", "text"),
        Column("model", "model", "text"),
        Column("route", "route", "text"),
        Column("state", "state", "text"),
        Column("seconds", "for", "time"),
    ],
    "No turn is under way.",
)
SESSIONS = Table(
    "sessions",
    "Sessions, the latest first, in tokens",
    [
        Column("session", "session", "text"),
        Column("models", "models", "text"),
        Column("turns", "turns"),
        Column("errors", "errors"),
        *_TOKENS,
        Column("error", "last error", "text"),
    ],
    "No turn has ended yet.",
)
MINUTES = Table(
    "minutes",
    "Turns and errors per minute, in the last hour",
    [
        Column("ago", "minutes ago"),
        Column("answered", "answered"),
        Column("failed", "failed"),
    ],
    "No turn has ended in the last hour.",
)
TURNS = Table(
    "turns",
    "Tokens per turn",
    [
        Column("session", "session", "text"),
        Column("turn", "turn"),
        Column("full", "full price"),
        Column("cached", "cached"),
        Column("saved", "left out"),
        Column("billed", "billed"),
        Column("output", "output"),
    ],
    "No turn has ended yet.",
)


def cell(value: object, form: Form) -> str:
    """One value as it is shown; the dashboard's script does the same."""
    if value is None or value == "":
        return "–"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    if isinstance(value, int | float):
        match form:
            case "count":
                return f"{value:,.0f}"
            case "money":
                return f"{value:.4f}"
            case "time":
                return lasting(value)
    return str(value)


def brief(count: float) -> str:
    """A count as it fits a narrow column: 999, 1.2k, 3.45M."""
    for unit, name, digits in ((1e9, "G", 2), (1e6, "M", 2), (1e3, "k", 1)):
        if count >= unit:
            return f"{count / unit:.{digits}f}{name}"
    return f"{count:.0f}"


def lasting(seconds: float) -> str:
    """A time as one says it: 12 s, 3 min 5 s, 2 h 3 min."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
