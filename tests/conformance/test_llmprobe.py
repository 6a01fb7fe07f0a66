"""llmprobe finds nothing that the conformance page does not explain."""

from __future__ import annotations

import pytest

from tests.conformance.__main__ import EXPLAINED, PAGE, UPSTREAMS, figures, open_questions, probe


@pytest.mark.full
@pytest.mark.parametrize("protocol", UPSTREAMS)
def test_what_does_not_pass_is_explained(protocol: str) -> None:
    report = probe(protocol)
    strange = {n: q for n, q in open_questions(report).items() if n not in EXPLAINED}
    assert not strange
    surfaces = figures(report)
    assert {"chat", "responses", "messages"} <= set(surfaces)
    assert all(made - passed <= 1 for passed, made in surfaces.values())


def test_the_page_explains_everything() -> None:
    assert "NOT EXPLAINED" not in PAGE.read_text(encoding="utf-8")
