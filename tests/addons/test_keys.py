"""No key of the policy is written down, or told to a client, whichever provider it belongs to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shim.policy.load import parse_policy
from tests.addons.harness import ANSWER, KEY, TURN, Stages, stages
from tests.everything import everything
from tests.unit.fixtures import DONE, chunk

__all__ = ["stages"]

pytestmark = pytest.mark.slow

#: Keys of no known form, one per place of a policy, and the environment's.
OWN = "own9Qm4vTb7Kd2Rw8Zx"
OTHER = "other7Jg0Lf3Hs6Yc5Nn"
IN_ADDRESS = "inpath4Rt6Uv8Wx1Aa"
PASSWORD = "pass5Bb2Cc8Dd1Ee"
IN_HEADER = "header3Ff7Gg9Hh2"
IN_QUERY = "query6Ii1Jj4Kk8Ll"
AGENT = "agent2Mm5Nn7Oo9Pp"
PROXY = "proxy8Qq3Rr6Ss1Tt"
SPANS = "spans1Uu4Vv7Ww2Xx"
CLIENT = "client4Yy8Zz3Aa6Bb"
KEYS = (OWN, OTHER, IN_ADDRESS, PASSWORD, IN_HEADER, IN_QUERY, AGENT, PROXY, SPANS)
POLICY = """
providers:
  up: {base_url: "http://127.0.0.1:9/v1", key: "${OWN}", protocol: PROTOCOL}
  other: {base_url: "https://one.example/v1", key: "${OTHER}"}
  path: {base_url: "https://two.example/${IN_ADDRESS}/v1", auth: none}
  login: {base_url: "${ADDRESS}", auth: none}
  header: {base_url: "https://four.example/v1", headers: {x-tenant: "${IN_HEADER}"}}
  query: {base_url: "https://five.example/v1", query: {api-key: query6Ii1Jj4Kk8Ll}}
  unset: {base_url: "https://six.example/v1", key: "${NEVER_SET}"}
  word: {base_url: "http://127.0.0.1:1234/v1", key: lmstudio}
agents: {mine: {command: [mine], reads: [{text: text}], env: {MINE_TOKEN: agent2Mm5Nn7Oo9Pp}}}
models: {big: {provider: up}}
default: big
"""
PATHS = {"responses": "/v1/responses", "chat": "/v1/chat/completions", "messages": "/v1/messages"}


@pytest.fixture
def planted(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> Stages:
    monkeypatch.setenv("OWN", OWN)
    monkeypatch.setenv("OTHER", OTHER)
    monkeypatch.setenv("IN_ADDRESS", IN_ADDRESS)
    monkeypatch.setenv("IN_HEADER", IN_HEADER)
    monkeypatch.setenv("ADDRESS", f"https://me:{PASSWORD}@three.example/v1")
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{PROXY}@proxy.example:3128")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Basic%20{SPANS}")
    _use(stages, "chat")
    return stages


def _use(stages: Stages, protocol: str) -> None:
    stages.services.policies.put(parse_policy(POLICY.replace("PROTOCOL", protocol)))


def _told(stages: Stages, folder: Path, caplog: pytest.LogCaptureFixture) -> bytes:
    """All that is on disk, in the log and on the pages."""
    assert stages.services.recording.settle
    stages.loop.run_until_complete(stages.services.recording.settle())  # type: ignore[arg-type]
    paths = "/health", "/health?exchanges", "/dashboard", "/metrics"
    pages = [stages.send(stages.flow(path=path)).response for path in paths]
    stages.fire("done")
    parts = [page.content or b"" for page in pages if page] + [caplog.text.encode()]
    return b"\n".join(
        [
            *parts,
            json.dumps(list(stages.services.rows)).encode(),
            *map(everything, folder.iterdir()),
        ]
    )


def test_a_prompt_that_holds_all_keys_is_written_without_them(
    planted: Stages, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    text = "cat .env\n" + "\n".join(KEYS) + "\nlmstudio"
    flow = planted.send(planted.flow({**TURN, "input": text, "model": f"big-{OTHER}"}))
    answer = chunk({"content": " ".join(KEYS)}, "stop") + DONE
    planted.answer(flow, answer, content_type="text/event-stream")
    told = _told(planted, tmp_path, caplog)
    assert not [key for key in KEYS if key.encode() in told]
    assert b"lmstudio" in told


@pytest.mark.parametrize("protocol", PATHS)
@pytest.mark.parametrize("client", PATHS)
def test_an_upstream_that_repeats_keys_in_its_error_tells_no_client(
    planted: Stages, tmp_path: Path, caplog: pytest.LogCaptureFixture, client: str, protocol: str
) -> None:
    _use(planted, protocol)
    said = {"role": "user", "content": "hi"}
    body = {"model": "big", "max_tokens": 9, "messages": [said]}
    flow = planted.send(planted.flow(TURN if client == "responses" else body, PATHS[client]))
    words = json.dumps({"error": {"message": " ".join(KEYS), "escaped": f"\\u006f{OWN[1:]}"}})
    got = planted.answer(
        flow, words.encode().replace(b"\\\\u", b"\\u"), 400, x_request_id=OTHER, x_echo=OWN
    )
    assert flow.response
    shown = got + b"\n".join(b": ".join(field) for field in flow.response.headers.fields)
    assert not [key for key in KEYS if key.encode() in shown]
    assert b"u006f" not in shown
    told = _told(planted, tmp_path, caplog)
    assert not [key for key in KEYS if key.encode() in told]


@pytest.mark.parametrize("protocol", ["chat", "responses"])
@pytest.mark.parametrize("cut", range(40, 60, 3))
def test_a_key_in_an_event_that_comes_in_pieces_does_not_reach_the_client(
    planted: Stages, cut: int, protocol: str
) -> None:
    _use(planted, protocol)
    body = {"model": "big", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    path = PATHS[protocol]
    flow = planted.send(planted.flow({**TURN} if protocol == "responses" else body, path))
    error = {"type": "error", "error": {"message": f"{'x' * cut} wrong key {OTHER}", "code": "no"}}
    answer = b"data: " + json.dumps(error).encode() + b"\n\n"
    got = planted.answer(flow, answer, content_type="text/event-stream", x_key=OTHER)
    assert flow.response
    assert OTHER.encode() not in got and OTHER not in str(flow.response.headers)
    assert b"wrong key" in got


def test_a_refused_request_keeps_no_client_key(planted: Stages) -> None:
    planted.services.client_keys.use((CLIENT,))
    planted.access(keys=(CLIENT,))
    flow = planted.flow({"model": CLIENT, "input": OTHER}, f"/v1/nothing/{CLIENT}")
    planted.send(flow)
    planted.fire("response", flow)
    assert flow.response and flow.response.status_code >= 400
    state = repr(flow.get_state())
    assert CLIENT not in state and OTHER not in state and KEY not in state


def test_an_answer_without_keys_passes_as_it_is(planted: Stages) -> None:
    body = {"model": "big", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    flow = planted.send(planted.flow(body, PATHS["chat"]))
    answer = chunk({"content": "start lmstudio own"}, "stop") + DONE
    assert b"start lmstudio own" in planted.answer(flow, answer, content_type="text/event-stream")
    assert ANSWER


FORMS = (
    "sk-proj-Zx81Qm4vTb7Kd2Rw9Yc5Lf3Hs6Jg0",
    "hunter2Qm4vTb7Kd2Rw9",
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
)


@pytest.mark.parametrize("masked", [True, False])
def test_keys_of_known_form_are_masked_in_recordings_unless_the_policy_says_otherwise(
    stages: Stages, tmp_path: Path, masked: bool
) -> None:
    text = (Path(__file__).parents[2] / "policies" / "default.yaml").read_text("utf-8")
    text = text if masked else f"{text}\nrecord: {{mask_keys: false}}\n"
    stages.services.policies.put(parse_policy(text))
    key, password, pem = FORMS
    prompt = f"{key}\nDB_PASSWORD={password}\n-----BEGIN PRIVATE KEY-----\n{pem}\n"
    body = {**TURN, "model": "llama", "input": f"{prompt}-----END PRIVATE KEY-----\n"}
    flow = stages.send(stages.flow(body))
    assert key.encode() in (flow.request.content or b""), "it is sent as it was"
    answer = chunk({"content": f"it is {key}"}, "stop") + DONE
    assert key.encode() in stages.answer(flow, answer, content_type="text/event-stream")
    assert stages.services.recording.settle
    stages.loop.run_until_complete(stages.services.recording.settle())  # type: ignore[arg-type]
    stages.fire("done")
    written = b"".join(everything(path) for path in tmp_path.glob("*.flow"))
    assert [form.encode() in written for form in FORMS] == [not masked] * 3
