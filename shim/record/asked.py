"""Which exchanges somebody asks for: what ``interpose audit`` and ``interpose stats`` filter by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from .events import COLUMNS, ended

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Asked(msgspec.Struct, frozen=True):
    """Which exchanges are wanted: ``session`` is how an id of session or thread begins or ends;
    ``model`` (asked for or used), ``provider`` and ``client`` are parts of names; ``since`` and
    ``until`` are seconds since 1970 between which an exchange was under way; ``status`` is a state
    (ok, failed, lost, open), a status (404) or a class of them (5xx); ``errors``: what did not end
    well."""

    session: str = ""
    model: str = ""
    provider: str = ""
    client: str = ""
    since: float = 0.0
    until: float = 0.0
    status: str = ""
    errors: bool = False

    def wants(self, row: Mapping[str, Any]) -> bool:
        """Whether ``row``, by the columns of the journal, is one of them."""
        used, began = str(row["used"] or ""), row["began"] or 0.0
        ids = [str(row[name] or "") for name in ("session", "thread")]
        wanted = self.session.lstrip("…")
        models = [used, *(str(row[name] or "") for name in ("asked", "route"))]
        status = str(row["status"] or "")
        # What has not ended is under way still, or nobody knows how long it was.
        last = row["ended"] or (float("inf") if row["state"] == "open" else began)
        if re.fullmatch(r"\dxx", self.status):
            as_told = status[:1] == self.status[0]
        else:
            as_told = not self.status or self.status in (row["state"], status)
        return (
            any(id.startswith(wanted) or id.endswith(wanted) for id in ids)
            and any(self.model in model for model in models)
            and self.provider in used.partition("/")[0]
            and self.client in str(row["client"] or "")
            and last >= self.since
            and (not self.until or began < self.until)
            and as_told
            and (not self.errors or row["state"] in ("failed", "lost"))
        )


def as_columns(row: Mapping[str, Any], began: float) -> dict[str, Any]:
    """A recorded exchange (`summary.Row` as plain fields) by the columns of the journal."""
    said = ended(row, began, None)
    failed = said.get("error") or (said.get("status") or 0) >= 400
    return {
        **dict.fromkeys(COLUMNS),
        **{name: value for name, value in said.items() if name in COLUMNS},
        # Older recordings only tell this one.
        "client": row.get("client") or ("codex" if row.get("codex") else None),
        "flow": row.get("exchange"),
        "state": "failed" if failed else "ok",
        "began": began,
        "ended": began + (said.get("total") or 0.0) / 1000,
    }


def moment(text: str, now: float, *, last: bool = False) -> float:
    """Seconds since 1970 of ``2h``, ``3d`` ago, ``2026-11-21`` or ``2026-11-21T08:00`` (UTC).

    ``last``: of a day, its end. ValueError with a sentence for anything else.
    """
    if ago := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text):
        return now - float(ago[1]) * _UNITS[ago[2]]
    try:
        when = datetime.fromisoformat(text)
        if last and len(text) <= len("2026-11-21"):
            when += timedelta(days=1)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"takes 30m, 2h, 3d or 2026-11-21, not {text!r}") from None
