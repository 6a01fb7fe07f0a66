"""The demo model as auto's classifier: scores by simple, visible signs, so that routing can be
watched without a key or a network."""

from __future__ import annotations

import json
import re

#: The name under which the demo provider scores.
NAME = "classifier"
_HARD = re.compile(
    r"refactor|redesign|architect|race condition|deadlock|concurren|prove|migrat|security|"
    r"distributed|performance|from scratch",
    re.I,
)
_EASY = re.compile(r"typo|rename|hello|hi\b|thanks|what is|comment|format|spelling|list the", re.I)
_STRONG = re.compile(r"hard|design|deep|difficult", re.I)
_MIDDLE = re.compile(r"everyday|usual|feature|most", re.I)
_CARD = re.compile(r"^([A-Z]): (.*)$", re.M)
_FENCE = re.compile(r"(-{5}[0-9a-f]+)\n(.*)\n\1", re.S)


def score(question: str) -> str:
    """The answer to the question that `shim.route.auto` asks: a JSON object of scores."""
    found = _FENCE.search(question)
    task = found[2] if found else question
    need = hardness(task)
    scores = {}
    for letter, card in _CARD.findall(question[: found.start()] if found else question):
        able = 3 if _STRONG.search(card) else 2 if _MIDDLE.search(card) else 1
        scores[letter] = 0.9 if able >= need else 0.5 if able == need - 1 else 0.2
    return json.dumps(scores)


def hardness(task: str) -> int:
    """1 for what anybody can do, 2 for ordinary work, 3 for what is hard."""
    if _HARD.search(task) or len(task) > 1500:
        return 3
    return 1 if _EASY.search(task) and len(task) < 200 else 2
