"""docs/benchmarks.md: a table between its two marks, with the commit it was made of."""

from __future__ import annotations

from pathlib import Path

from benchmarks.systems import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"


def put(begin: str, end: str, made_of: str, table: str, page: Path = PAGE) -> None:
    """Replace what is between ``begin`` and ``end`` in ``page`` by ``made_of`` and ``table``."""
    before, _, rest = page.read_text("utf-8").partition(begin)
    after = rest.partition(end)[2]
    page.write_text(f"{before}{begin}\n{made_of}\n\n{table}\n{end}{after}", "utf-8")
