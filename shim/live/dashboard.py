"""``GET /dashboard``: the running chain's numbers as a page that a browser keeps up to date.

The page comes with its numbers in it, so it can be read without scripts; its one script then asks
``/health?live=1``. Nothing is loaded from elsewhere, and the Content-Security-Policy lets nothing
run but that script, by its hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from ..shown import in_html
from . import tables
from .headers import page_headers
from .tables import Table, cell

_HERE = Path(__file__).parent


def render(page: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """The HTML and its headers; ``page`` is what ``GET /health?live=1`` answers."""
    template, parts, headers = _shell()
    live = page["live"]
    with_heading = (tables.TOTALS, tables.UNDER_WAY, tables.SESSIONS, tables.CHAIN)
    made = {table.name: _section(table, page) for table in with_heading}
    made |= {table.name: _table(table, page) for table in (tables.MINUTES, tables.TURNS)}
    html = template.substitute(parts, said=in_html(live["said"]), options=_options(live), **made)
    return html.encode("utf-8", "replace"), headers


@cache
def _shell() -> tuple[Template, dict[str, str], dict[str, str]]:
    """What is the same for every page: the template, style and script, and the headers."""
    texts = {kind: (_HERE / f"dashboard.{kind}").read_text("utf-8") for kind in _KINDS}
    headers = page_headers(texts["css"], texts["js"])
    return Template(texts["html"]), {"style": texts["css"], "script": texts["js"]}, headers


_KINDS = ("html", "css", "js")


def _section(table: Table, page: Mapping[str, Any]) -> str:
    heading = f"<h2>{in_html(table.caption)}</h2>"
    return f"<section>\n{heading}\n{_table(table, page)}\n</section>"


def _table(table: Table, page: Mapping[str, Any]) -> str:
    """A table that can be scrolled by keyboard where it is too wide; the script fills it anew."""
    head = "".join(
        f'<th scope="col" data-key="{in_html(c.key)}" data-form="{c.form}"{_class(c.form)}>'
        f"{in_html(c.title)}</th>"
        for c in table.columns
    )
    rows = table.rows(page)
    body = "\n".join(_row(table, row) for row in rows)
    there, none = ("", " hidden") if rows else (" hidden", "")
    name, caption = table.name, in_html(table.caption)
    return (
        f'<div class="wide" role="region" aria-label="{caption}" tabindex="0">\n'
        f'<table id="{name}" aria-label="{caption}"{there}>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>\n"
        f'<p id="{name}-empty"{none}>{in_html(table.empty)}</p></div>'
    )


def _row(table: Table, row: Mapping[str, Any]) -> str:
    cells = []
    for at, column in enumerate(table.columns):
        tag, scope = ("td", "") if at else ("th", ' scope="row"')
        text = in_html(cell(row.get(column.key), column.form))
        cells.append(f"<{tag}{scope}{_class(column.form)}>{text}</{tag}>")
    return f"<tr>{''.join(cells)}</tr>"


def _class(form: str) -> str:
    return "" if form == "text" else ' class="number"'


def _options(live: Mapping[str, Any]) -> str:
    """The sessions to choose from; ids of threads sort by their age."""
    chosen = live["turns"]["session"]
    names = {row["session"] for row in live["sessions"]} | ({chosen} if chosen else set())
    made = ['<option value="">all, the latest turns</option>']
    for name in sorted(names, reverse=True):
        selected = " selected" if name == chosen else ""
        made.append(f'<option value="{in_html(name)}"{selected}>{in_html(name)}</option>')
    return "".join(made)
