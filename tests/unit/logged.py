"""Hand-made session logs, and what the tests of reading them share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shim.logs import Session, read_log

FIXTURES = Path(__file__).parents[1] / "fixtures" / "logs"


def written(folder: Path, lines: Iterable[Any], name: str = "log.jsonl") -> Path:
    path = folder / name
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n")
    return path


def only(folder: Path, lines: Iterable[Any]) -> Session:
    (session,) = read_log(written(folder, lines))
    return session


def bodies(session: Session) -> list[Any]:
    return [json.loads(turn.body) for turn in session.turns]


def assert_grows(session: Session, field: str, since: int = 0) -> None:
    """Each request's elements begin with those of the one before, byte for byte."""
    bare = [turn.body.partition(b'"%s":[' % field.encode())[2][:-2] for turn in session.turns]
    for before, after in zip(bare[since:], bare[since + 1 :], strict=False):
        assert after.startswith(before + b",")


class Transcript:
    """Lines of a transcript, each the child of the one before unless `parent` says otherwise."""

    def __init__(self, **all_lines: Any) -> None:
        self.lines: list[dict[str, Any]] = []
        self._all = all_lines
        self._last: str | None = None

    def add(self, kind: str, parent: str | None = "", **more: Any) -> str:
        uuid = f"{self._all.get('agentId', 'u')}{len(self.lines)}"
        above = self._last if parent == "" else parent
        time = f"2026-01-01T00:00:{len(self.lines):02}Z"
        one = {"type": kind, "uuid": uuid, "parentUuid": above, "sessionId": "s", "timestamp": time}
        self.lines.append({**one, **self._all, **more})
        self._last = uuid
        return uuid

    def user(self, content: Any, parent: str | None = "", **more: Any) -> str:
        message = {"role": "user", "content": content}
        return self.add("user", parent, message=message, **more)

    def model(
        self, id: str, block: Any, tokens: int = 1, parent: str | None = "", **more: Any
    ) -> str:
        usage = {"input_tokens": 7, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 3}
        message = {"role": "assistant", "id": id, "model": "claude", "content": [block]}
        message["usage"] = {**usage, "output_tokens": tokens}
        return self.add("assistant", parent, message=message, **more)


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def use(n: int) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"t{n}", "name": "Read", "input": {}}


def result(n: int) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": f"t{n}", "content": "ok"}


def message(role: str, *content: Any) -> dict[str, Any]:
    return {"role": role, "content": list(content)}
