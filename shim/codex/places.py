"""The two places of Codex Desktop's code that `patch-app` changes, found by their structure.

The code is minified: names of variables change with every build, names of properties and what
passes from where to where do not. So each shape is a pattern over properties and data flow, and a
place counts only when all shapes together find it exactly once. The shapes come from published
reports of the builds 26.422 to 26.1002; none was tried here on the app itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

#: Where the code of the app's windows lies in the archive.
UNDER = "webview/"

_ID = rb"[A-Za-z_$][\w$]*"
#: What a flag may be joined with: `&&!custom`, `&&auth!==`amazonBedrock``.
_AND = rb"(?:&&!?" + _ID + rb"(?:[!=]==?[`'\"][\w-]*[`'\"])?)*"
#: `?allowed.has(model.model):!model.hidden`, with or without a further alternative.
_LIST = (
    rb"\?(?:" + _ID + rb"\.)*" + _ID + rb"\.has\((?P<m>" + _ID + rb")\.model\)"
    rb"[^;{}]{0,400}?:!(?P=m)\.hidden\b"
)
#: Code up to the next mention of the flag's name, at most so much.
_GAP = rb"(?:(?!useHiddenModels)[\s\S]){0,2500}?"
_FLAG = rb"useHiddenModels:(?P<flag>" + _ID + rb")\b[^{}]{0,400}\}\)\s*\{"

_RECENT = (
    rb"listRecentThreads\(\{(?=[^{}]*\bcursor:)(?=[^{}]*\blimit:)[^{}]{0,300}\}\)\s*\{"
    rb"(?=(?:(?!listRecentThreads)[\s\S]){0,900}?[`'\"]thread/list[`'\"])"
    rb"[^;]{0,500}?\bmodelProviders:"
)


@dataclass(frozen=True)
class Place:
    """What is looked for: the span ``at`` of a shape's match is replaced by ``becomes``."""

    name: str
    does: str
    #: No file without these bytes is searched.
    hint: bytes
    shapes: tuple[re.Pattern[bytes], ...]
    becomes: bytes
    #: The place as it is after the change, and in builds that need none.
    done: re.Pattern[bytes]


PICKER = Place(
    name="model picker",
    does="shows every model of the catalog that is not hidden",
    hint=b"useHiddenModels",
    shapes=tuple(
        map(
            re.compile,
            (
                # 26.727 and later: a function that is handed the flag asks it directly.
                _FLAG + _GAP + rb"\((?P<at>(?P=flag)" + _AND + rb")" + _LIST,
                # 26.601 to 26.707: it keeps the flag and what it is joined with in a variable.
                _FLAG + _GAP + rb"[\s,](?P<kept>" + _ID + rb")=(?P=flag)" + _AND + rb"[,;]"
                + _GAP + rb"\bif\((?P<at>(?P=kept))" + _LIST,
                # 26.519: the same with the flag of a configuration.
                rb"[\s,](?P<kept>" + _ID + rb")=" + _ID + rb"\.useHiddenModels" + _AND + rb"[,;]"
                + _GAP + rb"\bif\((?P<at>(?P=kept))" + _LIST,
                # 26.422: asked directly. (Since 26.727 that stands in an arrow function too, which
                # decides for the tool `create_thread`; that is not the picker.)
                rb"if\((?P<at>" + _ID + rb"\.useHiddenModels" + _AND + rb")" + _LIST,
            ),
        )
    ),
    becomes=b"!1",
    done=re.compile(rb"\((?P<at>!1)" + _LIST),
)  # fmt: skip

RECENT = Place(
    name="recent threads",
    does="lists the threads of every provider, not of the configured one only",
    hint=b"listRecentThreads",
    shapes=(re.compile(_RECENT + rb"(?P<at>null)\b"),),
    becomes=b"[]",
    done=re.compile(_RECENT + rb"(?P<at>\[\])"),
)

PLACES = (PICKER, RECENT)


@dataclass(frozen=True)
class Found:
    """A place in the archive: in which file, at which bytes; ``done`` when nothing is to change."""

    place: Place
    file: str
    start: int
    end: int
    done: bool


class PlaceError(Exception):
    """Which place was not found exactly once, in one line."""


def find(names: Iterable[str], read: Callable[[str], bytes]) -> list[Found]:
    """Where the places are, in their order. PlaceError when one is missing or there twice."""
    open_: dict[str, set[tuple[str, int, int]]] = {place.name: set() for place in PLACES}
    done: dict[str, set[tuple[str, int, int]]] = {place.name: set() for place in PLACES}
    for name in names:
        if not name.startswith(UNDER) or not name.endswith(".js"):
            continue
        text = read(name)
        for place in PLACES:
            if place.hint in text:
                for shape in place.shapes:
                    open_[place.name] |= {(name, *m.span("at")) for m in shape.finditer(text)}
                done[place.name] |= {(name, *m.span("at")) for m in place.done.finditer(text)}
    found = []
    for place in PLACES:
        hits = [(span, False) for span in open_[place.name]]
        hits += [(span, True) for span in done[place.name]]
        if len(hits) != 1:
            where = ", ".join(sorted({span[0] for span, _ in hits}))
            raise PlaceError(
                f"the place of the {place.name} was found {len(hits)} times"
                + (f" (in {where})" if where else "")
                + ", not once: this version's code is of a shape that is not known"
            )
        (span, is_done) = hits[0]
        found.append(Found(place, *span, is_done))
    return found


def change(found: Iterable[Found], read: Callable[[str], bytes]) -> dict[str, bytes]:
    """The files with the places changed."""
    texts: dict[str, bytes] = {}
    todo = [each for each in found if not each.done]
    for each in sorted(todo, key=lambda each: each.start, reverse=True):
        text = texts.get(each.file) or read(each.file)
        texts[each.file] = text[: each.start] + each.place.becomes + text[each.end :]
    return texts
