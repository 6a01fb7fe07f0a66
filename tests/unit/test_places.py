"""Finding the two places of Codex Desktop in code of every known shape, and refusing otherwise."""

from __future__ import annotations

import itertools
import time

import pytest

from shim.codex.places import PICKER, RECENT, Found, PlaceError, change, find
from tests.unit.desktop_shapes import PICKERS, RECENTS, renamed

PAIRS = list(itertools.product(PICKERS, RECENTS))


def archive(picker: str, recent: str) -> dict[str, bytes]:
    return {
        "webview/assets/app-initial.js": f"import x from'./x.js';{picker}".encode(),
        "webview/assets/signals.js": recent.encode(),
        "webview/assets/other.js": b"let a=b?c.has(d.model):!d.hidden;",
        ".vite/build/main.js": f"{picker}{recent}".encode(),
    }


def look(files: dict[str, bytes]) -> list[Found]:
    return find(files, files.__getitem__)


@pytest.mark.parametrize("names", [str, renamed])
@pytest.mark.parametrize("builds", PAIRS, ids=" ".join)
def test_each_place_is_found_once_changed_and_known_again(builds, names) -> None:
    files = archive(names(PICKERS[builds[0]]), names(RECENTS[builds[1]]))
    picker, recent = look(files)
    assert (picker.place, recent.place) == (PICKER, RECENT)
    assert not picker.done and not recent.done

    changed = change((picker, recent), files.__getitem__)
    assert sorted(changed) == ["webview/assets/app-initial.js", "webview/assets/signals.js"]
    after = {**files, **changed}
    assert [each.done for each in look(after)] == [True, True]
    assert change(look(after), after.__getitem__) == {}


def test_both_places_may_stand_in_one_file() -> None:
    files = {"webview/all.js": (RECENTS["26.818"] + PICKERS["26.825"]).encode()}
    after = change(look(files), files.__getitem__)
    assert all(each.done for each in look(after))
    assert len(after["webview/all.js"]) < len(files["webview/all.js"])


def test_a_flag_counts_up_to_its_next_mention_only() -> None:
    other = (
        "function Ka({models:a,useHiddenModels:b}){return a}function Kb({useHiddenModels:c}){return c}"
        "function Kc(b,d,e){return(b?d.has(e.model):!e.hidden)}"
    )
    files = archive(PICKERS["26.825"] + other, RECENTS["26.818"])
    (at,) = [each.start for each in look(files) if each.place is PICKER]
    assert at < files["webview/assets/app-initial.js"].index(b"function Ka")


def test_a_build_that_lists_all_threads_by_itself_needs_only_the_other_change() -> None:
    recent = RECENTS["26.707"].replace(
        "modelProviders:null,archived:!1,source", "modelProviders:[],archived:!1,source"
    )
    files = archive(PICKERS["26.707"], recent)
    assert [each.done for each in look(files)] == [False, True]
    assert list(change(look(files), files.__getitem__)) == ["webview/assets/app-initial.js"]


@pytest.mark.parametrize(
    ("picker", "recent", "said"),
    [
        ("", RECENTS["26.818"], "model picker was found 0 times"),
        (PICKERS["26.825"], "", "recent threads was found 0 times"),
        (PICKERS["26.825"] * 2, RECENTS["26.818"], "model picker was found 2 times (in webview/"),
        (PICKERS["26.601"] + PICKERS["26.727"], RECENTS["26.818"], "model picker was found 2 times"),
        (PICKERS["26.825"], RECENTS["26.818"] * 2, "recent threads was found 2 times"),
        (PICKERS["26.825"].replace("&&t!==`amazonBedrock`", "&&odd(t)"), RECENTS["26.818"], "picker was found 0 times"),
        (PICKERS["26.825"].replace(".hidden", ".secret"), RECENTS["26.818"], "model picker was found 0 times"),
        (PICKERS["26.825"], RECENTS["26.818"].replace("thread/list", "thread/find"), "threads was found 0 times"),
    ],
)  # fmt: skip
def test_a_place_that_is_not_there_exactly_once_is_refused(picker, recent, said) -> None:
    with pytest.raises(PlaceError, match="not once") as refused:
        look(archive(picker, recent))
    assert said in str(refused.value)


def test_a_place_half_done_twice_is_refused() -> None:
    files = archive(PICKERS["26.825"], RECENTS["26.818"])
    after = change(look(files), files.__getitem__)
    twice = {**files, "webview/more.js": after["webview/assets/app-initial.js"]}
    with pytest.raises(PlaceError, match="found 2 times"):
        look(twice)


@pytest.mark.parametrize(
    "bait",
    [
        b"useHiddenModels:a}){",
        b",a=b.useHiddenModels,",
        b"useHiddenModels:a}){b=a,",
        b"if(a.useHiddenModels&&b",
        b"listRecentThreads({cursor:a,limit:b}){`thread/list`",
        b"useHiddenModels:a})){(a?b.has(c.model)" + b"x" * 390,
    ],
)
def test_code_made_to_be_slow_is_not(bait: bytes) -> None:
    files = {"webview/x.js": bait * (1_000_000 // len(bait)) + b"listRecentThreads useHiddenModels"}
    started = time.process_time()
    with pytest.raises(PlaceError):
        look(files)
    assert time.process_time() - started < 5
