"""The mistakes that people make first, each as a policy; and the table of docs/doctor.md."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.answers import JSON, chat_text
from tests.e2e.upstreams import Answer, Seen

PAGE = Path(__file__).resolve().parents[2] / "docs" / "doctor.md"
BEGIN, END = "<!-- mistakes:begin -->", "<!-- mistakes:end -->"
KEY = "sk-" + "acme-0123456789abcdef"
MODELS = ("acme/large-2", "acme/small-2")


@dataclass(frozen=True)
class Mistake:
    """One row. ``policy`` is a whole one, in which SERVER is the address of a Chat server that has
    /v1/models and /v1/chat/completions, and DEAD one where nothing listens. ``check``, ``doctor``
    and ``turn`` must stand in what `policy check`, `doctor --online` and a turn say; empty: that
    says nothing, None: there is none."""

    name: str
    title: str
    policy: str
    check: str = ""
    doctor: str | None = ""
    turn: str | None = ""


def _policy(
    base_url: str = "SERVER/v1", more: str = "key: ${ACME_KEY}", model: str = "large"
) -> str:
    return (
        f"providers:\n  acme:\n    base_url: {base_url}\n    {more}\n"
        f"models:\n  mine: {{ provider: acme, model: acme/{model}-2 }}\ndefault: mine\n"
    )


MISTAKES = [
    Mistake(
        "no-version",
        "`base_url` without /v1",
        _policy("SERVER"),
        doctor="does base_url need /v1?",
        turn="POST SERVER/chat/completions gave 404 (Not Found); does base_url need /v1?",
    ),
    Mistake(
        "endpoint",
        "`base_url` with the endpoint",
        _policy("SERVER/v1/chat/completions"),
        check="policy.yaml:3:5: warning: providers.acme.base_url: ends in /chat/completions",
        doctor="leave that out",
        turn="base_url ends in /chat/completions; leave that out",
    ),
    Mistake(
        "messages",
        "`protocol: messages` for a Chat server",
        _policy(more="key: ${ACME_KEY}\n    protocol: messages\n    auth: bearer"),
        doctor="does this server speak chat?",
        turn="protocol: messages asks /v1/messages; does this server speak chat?",
    ),
    Mistake(
        "responses",
        "`protocol: responses` for a Chat server",
        _policy(more="key: ${ACME_KEY}\n    protocol: responses"),
        doctor="does this server speak chat?",
        turn="protocol: responses asks /v1/responses; does this server speak chat?",
    ),
    Mistake(
        "model",
        "a model that the provider does not have",
        _policy(model="lagre"),
        doctor="does not list the model acme/lagre-2 of models.mine; did you mean acme/large-2?",
        turn="The model `acme/lagre-2` does not exist",
    ),
    Mistake(
        "no-key",
        "the key is not set",
        _policy(more="key: ${ACME_KEY_NOT_SET}"),
        check="the variable ACME_KEY_NOT_SET is not set: acme counts as down",
        doctor=None,
        turn="needs the variable ACME_KEY_NOT_SET, which is not set where the chain runs",
    ),
    Mistake(
        "dollar",
        "`$NAME` for `${NAME}`",
        _policy(more="key: $ACME_KEY"),
        check="policy.yaml:4:5: warning: providers.acme.key: $ACME_KEY is sent as it stands",
        doctor="refuses the key: status 401",
        turn="Incorrect API key provided.",
    ),
    Mistake(
        "wrong-key",
        "a key that is wrong or has expired",
        _policy(more="key: ${OLD_KEY}"),
        doctor="refuses the key: status 401",
        turn="Incorrect API key provided.",
    ),
    Mistake(
        "dead",
        "a port where nothing listens",
        _policy("DEAD/v1"),
        doctor="cannot be reached: nothing listens there (connection refused)",
        turn="nothing listens at 127.0.0.1",
    ),
    Mistake(
        "tab",
        "a tab in the policy",
        _policy().replace("    base_url", "\tbase_url"),
        check="policy.yaml:3:1: error: not valid YAML: a tab (→) where YAML takes spaces only",
        doctor=None,
        turn=None,
    ),
    Mistake(
        "indentation",
        "wrong indentation",
        _policy().replace("    key", "   key"),
        check="policy.yaml:4:4: error: not valid YAML: wrong indentation: the line begins in col",
        doctor=None,
        turn=None,
    ),
    Mistake(
        "braces",
        "`${NAME}` between { and } without quotes",
        "providers:\n  acme: { key: ${ACME_KEY}, base_url: SERVER/v1 }\n",
        check="between { and } a variable is put in quotes",
        doctor=None,
        turn=None,
    ),
    Mistake(
        "field",
        "a field that there is not",
        _policy().replace("base_url", "baseurl"),
        check="error: providers.acme.baseurl: unknown field; did you mean base_url?",
        doctor=None,
        turn=None,
    ),
    Mistake(
        "provider",
        "a provider that there is not",
        _policy().replace("provider: acme", "provider: acne"),
        check="error: models.mine.provider: no provider acne; did you mean acme?",
        doctor=None,
        turn=None,
    ),
]


def server(seen: Seen) -> Answer:
    """A Chat server as most are: it wants its key, and has two models."""
    path = seen.path.partition("?")[0]
    if path not in ("/v1/models", "/v1/chat/completions"):
        return Answer(404, JSON, [b'{"detail":"Not Found"}'])
    if seen.headers.get("authorization") != f"Bearer {KEY}":
        return _error(401, "Incorrect API key provided.", "invalid_api_key")
    if path == "/v1/models":
        rows = [{"id": name, "object": "model"} for name in MODELS]
        return Answer(200, JSON, [json.dumps({"object": "list", "data": rows}).encode()])
    model = seen.json().get("model")
    if not model:
        return _error(400, "you must provide a model parameter", "")
    if model not in MODELS:
        return _error(404, f"The model `{model}` does not exist", "model_not_found")
    return chat_text("hello")


def _error(status: int, message: str, code: str) -> Answer:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return Answer(status, JSON, [json.dumps({"error": error}).encode()])


@dataclass(frozen=True)
class Row:
    """What was said of one mistake: before a turn, with the command that says it, and in it."""

    title: str
    before: list[tuple[str, str]]
    turn: str | None = None


def table(rows: list[Row]) -> str:
    """The rows as Markdown, with what stands before and behind them."""
    lines = ["| mistake | before the first turn | in the turn |", "|---|---|---|"]
    for row in rows:
        before = "<br>".join(f"`{command}`: {_cell(text)}" for command, text in row.before if text)
        lines.append(f"| {row.title} | {before or '–'} | {_cell(row.turn or '') or '–'} |")
    return "\n".join([BEGIN, "", *lines, "", END])


def _cell(text: str) -> str:
    text = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return f"“{text}”" if text else ""


def with_table(page: str, rows: str) -> str:
    """``page`` with ``made`` in the place of its table."""
    before, _, rest = page.partition(BEGIN)
    return before + rows + rest.partition(END)[2]
