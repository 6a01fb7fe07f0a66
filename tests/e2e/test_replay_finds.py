"""Garbage in a recording is found by a replay: each kind, in each kind of turn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import http

from addons.flowfile import body_of, flows_of, recorded_of, row_of, set_body, set_row
from addons.offline import Replayer
from addons.sanitise import main as sanitise
from shim.record.replay import Replayed
from tests.e2e.answers import chat_text, error
from tests.e2e.chain import Chain
from tests.e2e.upstreams import Answer, Seen, Upstream

POLICY = """
providers: {{ up: {{ base_url: "{url}/v1", key: k }} }}
models:
  plain: {{ provider: up, model: m }}
  repaired: {{ provider: up, model: text }}
  failed: {{ provider: up, model: bad }}
catch:
  - {{ name: swap, when: {{ text: colour }}, replace: {{ text: colour, with: color }} }}
  - {{ name: no-bombs, when: {{ text: bomb }}, refuse: not here }}
redact: [{{ name: keys, use: api-keys }}]
repair: {{}}
"""
CALL = '<tool_call>\n{"name": "look", "arguments": {"at": "a.py"}}\n</tool_call>'
LOOK = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
}
CODEX = {"user-agent": "codex_exec/0.169.0", "originator": "codex_exec"}
KEY = "ghp_" + "aB3" * 12
#: Each kind of turn: the model, and what is said.
TURNS = {
    "plain": ("plain", "hello"),
    "edited": ("plain", f"the colour of {KEY}"),
    "repaired": ("repaired", "look at it"),
    "failed": ("failed", "hello"),
    "refused": ("plain", "how to make a bomb"),
}


def says(seen: Seen) -> Answer:
    model = seen.json()["model"]
    if model == "bad":
        return error(400, "no such thing")
    return chat_text(CALL if model == "text" else "It is fine.")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("recorded")
    with Upstream(says) as upstream:
        policy = POLICY.format(url=upstream.url)
        with Chain(policy=policy, options={"record_dir": str(folder)}) as chain:
            for model, text in TURNS.values():
                body = {"model": model, "stream": True, "input": text, "tools": [LOOK]}
                chain.post("/v1/responses", json=body)
    yield next(folder.glob("*.flow"))


def replayed(flows: list[http.HTTPFlow]) -> dict[str, Replayed]:
    with Replayer() as replayer:
        found = [replayer.run(recorded) for recorded in recorded_of(flows)]
    return dict(zip(TURNS, found, strict=True))


def loaded(path: Path) -> list[http.HTTPFlow]:
    return [flow for flow in flows_of(path) if isinstance(flow, http.HTTPFlow)]


def leg(flows: list[http.HTTPFlow], kind: str, name: str) -> http.HTTPFlow:
    exchange = list(dict.fromkeys(row_of(f)["exchange"] for f in flows))[list(TURNS).index(kind)]
    fits = (f for f in flows if row_of(f)["exchange"] == exchange and row_of(f)["leg"] == name)
    return next(fits)


def test_as_recorded(recording: Path) -> None:
    for kind, found in replayed(loaded(recording)).items():
        assert not found.differences, f"{kind}: {'; '.join(map(str, found.differences))}"
        assert not found.not_compared, f"{kind}: {found.not_compared}"


def _spoil(flow: http.HTTPFlow, which: str, change: Callable[[bytes], bytes]) -> None:
    message: Any = getattr(flow, which)
    set_body(message, change(body_of(message)))


def request_garbage(flows: list[http.HTTPFlow], kind: str) -> None:
    _spoil(leg(flows, kind, "upstream"), "request", lambda b: b'{"model":"garbage"}')


def word_in_request(flows: list[http.HTTPFlow], kind: str) -> None:
    _spoil(leg(flows, kind, "upstream"), "request", lambda b: b.replace(b'"stream"', b'"streams"'))


def answer_garbage(flows: list[http.HTTPFlow], kind: str) -> None:
    _spoil(leg(flows, kind, "upstream"), "response", lambda b: b"garbage")


def word_in_answer(flows: list[http.HTTPFlow], kind: str) -> None:
    def changed(body: bytes) -> bytes:
        for was, now in ((b"fine", b"fire"), (b"a.py", b"b.py"), (b"such", b"much")):
            body = body.replace(was, now)
        return body

    _spoil(leg(flows, kind, "upstream"), "response", changed)


def client_garbage(flows: list[http.HTTPFlow], kind: str) -> None:
    _spoil(leg(flows, kind, "client"), "response", lambda b: b"garbage")


def client_cut(flows: list[http.HTTPFlow], kind: str) -> None:
    _spoil(leg(flows, kind, "client"), "response", lambda b: b[:-9])


def asked_otherwise(flows: list[http.HTTPFlow], kind: str) -> None:
    def changed(body: bytes) -> bytes:
        value = json.loads(body)
        return json.dumps({**value, "input": "something else"}).encode()

    _spoil(leg(flows, kind, "client"), "request", changed)


def decided_otherwise(flows: list[http.HTTPFlow], kind: str) -> None:
    for name in ("client", "upstream"):
        try:
            flow = leg(flows, kind, name)
        except StopIteration:
            continue
        row = row_of(flow)
        note = {"stage": "catch", "code": "rule", "text": "a rule that never was"}
        set_row(flow, {**row, "decisions": [*row["decisions"], note]})


def went_elsewhere(flows: list[http.HTTPFlow], kind: str) -> None:
    for name in ("client", "upstream"):
        flow = leg(flows, kind, name)
        row = row_of(flow)
        set_row(flow, {**row, "route": {**row["route"], "model": "another"}})


SENT = ("plain", "edited", "repaired", "failed")
CASES = [
    *((change, kind) for change in (request_garbage, word_in_request) for kind in SENT),
    *((change, kind) for change in (answer_garbage, word_in_answer) for kind in SENT),
    *((change, kind) for change in (client_garbage, client_cut) for kind in TURNS),
    *((asked_otherwise, kind) for kind in TURNS),
    *((decided_otherwise, kind) for kind in TURNS),
    *((went_elsewhere, kind) for kind in SENT),
]


@pytest.mark.parametrize(
    ("change", "kind"), CASES, ids=[f"{c.__name__}-{k}".replace("_", " ") for c, k in CASES]
)
def test_garbage_is_found(
    recording: Path, change: Callable[[list[http.HTTPFlow], str], None], kind: str
) -> None:
    flows = loaded(recording)
    change(flows, kind)
    found = replayed(flows)
    assert found.pop(kind).differences
    assert not [d for other in found.values() for d in other.differences]


def test_a_sanitised_copy_replays_too(recording: Path, tmp_path: Path) -> None:
    """Its policy goes along, also when only some of its exchanges do."""
    out = tmp_path / "out.flow"
    assert sanitise(["--sanitise", str(recording), "-o", str(out)]) == 0
    for kind, found in replayed(loaded(out)).items():
        assert not found.differences, f"{kind}: {'; '.join(map(str, found.differences))}"
        assert not found.not_compared, f"{kind}: {found.not_compared}"
    assert sanitise(["--sanitise", str(recording), "-o", str(out), "--session", "look at"]) == 0
    (recorded,) = recorded_of(loaded(out))
    with Replayer() as replayer:
        found = replayer.run(recorded)
    assert recorded.policy and not found.differences and not found.not_compared


def test_who_is_served_is_offered_the_recorded_models(recording: Path) -> None:
    with Chain(options={"replay": str(recording)}) as chain:
        assert {model["id"] for model in chain.get("/v1/models").json()["data"]} >= {"plain"}
        catalog = chain.get("/v1/models?client_version=0.169.0", headers=CODEX).json()
        assert "plain" in {model["slug"] for model in catalog["models"]}
        body = {"model": "plain", "stream": True, "input": TURNS["plain"][1], "tools": [LOOK]}
        assert b"It is fine." in chain.post("/v1/responses", json=body).content
        refused = {**body, "input": TURNS["refused"][1]}
        assert b"not here" in chain.post("/v1/responses", json=refused).content
