"""The dashboard's page: whole without its script, nothing from elsewhere, names stay text."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest

from shim.live import tables
from shim.live.dashboard import render
from shim.live.sums import Live, about, said
from tests.unit.test_live import HEALTH, NASTY, row

VOID = {"meta", "rect", "circle", "line", "input", "br", "link", "img"}


class Read(HTMLParser):
    """What is in a page: its tags with their attributes, and the text of each kind of tag."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.open[-1]][-1] += data


def page_of(live: Live, chosen: str = "", **more: Any) -> dict[str, Any]:
    page = {**HEALTH, "under_way": [], **more}
    found = live.page(len(page["under_way"]), about(page, records=True), chosen)
    return {**page, "live": found | {"said": said(page, found["totals"]["errors"])}}


def read(page: dict[str, Any]) -> tuple[Read, dict[str, str]]:
    html, headers = render(page)
    found = Read(html.decode())
    assert not found.open, "every tag is closed"
    return found, headers


def test_a_chain_that_has_done_nothing() -> None:
    found, _ = read(page_of(Live()))
    assert "No errors." in found.texts["p"]
    for table in (tables.UNDER_WAY, tables.SESSIONS, tables.MINUTES, tables.TURNS):
        assert table.empty in found.texts["p"]
    shown = {a["id"]: "hidden" not in a for tag, a in found.tags if tag == "table"}
    assert shown == {"totals": True, "under_way": False, "minutes": False, "sessions": False,
                     "turns": False, "chain": True}  # fmt: skip


def test_the_numbers_stand_in_the_page() -> None:
    live = Live()
    live.add(row(thread="one"))
    live.add(row(thread="two", error="upstream: no <b>luck</b>", account=None))
    going = {"session": "three", "model": "m", "route": None, "state": "streaming", "seconds": 61}
    found, _ = read(page_of(live, "one", under_way=[going]))
    cells = found.texts["td"] + found.texts["th"]
    for text in ("one", "up/m", "64", "0.5000", "upstream: no <b>luck</b>", "1 min 1 s", "p.yaml"):
        assert text in cells, text
    assert found.texts["option"] == ["all, the latest turns", "two", "one"]
    chosen = [a["value"] for tag, a in found.tags if tag == "option" and "selected" in a]
    assert chosen == ["one"]


@pytest.mark.parametrize("name", NASTY)
def test_a_name_never_becomes_markup(name: str) -> None:
    plain, _ = read(page_of(live := Live()))
    live.add(row(thread=name, route={"provider": name, "model": name}, error=name))
    going = {"session": name, "model": name, "route": name, "state": "waiting", "seconds": 0}
    found, _ = read(page_of(live, name, under_way=[going], providers={name: name}))
    for tag in ("script", "style", "a", "img", "b", "link"):
        assert len(found.texts.get(tag, [])) == len(plain.texts.get(tag, []))
    assert {tag for tag, _ in found.tags} == {tag for tag, _ in plain.tags} | {"td"}
    known = {"id", "class", "role", "hidden", "tabindex", "scope", "value", "selected"}
    for _, attributes in found.tags:
        assert not [a for a in attributes if a.startswith("on") or a in ("style", "src", "href")]
    for tag, attributes in found.tags:
        if tag in ("th", "td", "tr", "table", "option"):
            assert {a for a in attributes if not a.startswith(("data-", "aria-"))} <= known


def test_nothing_is_loaded_from_elsewhere_and_only_its_own_script_runs() -> None:
    found, headers = read(page_of(Live()))
    html = render(page_of(Live()))[0].decode()
    assert not re.findall(r"(?:src|href|action|@import|url)\s*[=(]\s*[\"']?(?!#)\w", html)
    assert set(re.findall(r"https?://[^\"' ]+", html)) == {"http://www.w3.org/2000/svg"}
    (script,), (style,) = found.texts["script"], found.texts["style"]
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    for text, kind in ((script, "script-src"), (style, "style-src")):
        assert policy[kind] == f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["connect-src"] == "'self'" and "unsafe" not in str(policy)
    assert headers["cache-control"] == "no-store"


def test_every_control_and_picture_has_a_name() -> None:
    found, _ = read(page_of(Live()))
    ids = {a["id"] for _, a in found.tags if "id" in a}
    labels = {a.get("for") for tag, a in found.tags if tag == "label"}
    for tag, a in found.tags:
        if tag == "select":
            assert a["id"] in labels
        elif tag == "svg":
            named = str(a.get("aria-labelledby", "")).split()
            assert a.get("aria-hidden") == "true" or (named and set(named) <= ids)
        elif tag == "table":
            assert a["aria-label"]
    assert len(found.texts["h1"]) == 1 and ("html", {"lang": "en"}) in found.tags
