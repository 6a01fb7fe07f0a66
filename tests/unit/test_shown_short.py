"""What is cut off where it is shown: no half of a key is left."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shim.shown import short

KEY = "Planted4Token5Of6The7Policy/x+y=="




@given(st.text(), st.integers(0, 60), st.text())
def test_of_a_key_that_is_cut_its_beginning_is_told(before: str, most: int, behind: str) -> None:
    text = f"{before} {KEY} {behind}"
    made = short(text, most)
    assert text.startswith(made.removesuffix("…")) and len(made) <= most + 1
    cut_in_key = len(before) + 1 < most < len(before) + 1 + len(KEY)
    if cut_in_key:
        assert made == f"{before} {KEY[:3]}"[:most] + "…"


@given(st.text(), st.integers(0, 60))
def test_what_is_short_stays(text: str, more: int) -> None:
    assert short(text, len(text) + more) is text


def test_a_word_that_is_all_there_is() -> None:
    assert short("x" * 300, 200) == "xxx…"
    assert short("a few words, and more", 11) == "a few words…"
    assert short("a few words, and more", 9) == "a few wor…"
