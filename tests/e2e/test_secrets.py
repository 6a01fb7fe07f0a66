"""Keys planted in headers and in the policy's environment are on no disk and in no output."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote, unquote

from tests.e2e.answers import SSE, USAGE, chat_chunk, error, sse
from tests.e2e.chain import Chain
from tests.e2e.clients import run_codex
from tests.e2e.upstreams import Answer, Seen, Upstream
from tests.everything import everything

CLIENT_KEY = "sk-planted-client-7fQ2+xY/93kd"
POLICY_KEY = "sk-planted-policy-Zp41+mN/08vv"
OTHER_KEY = "planted-gateway-token-55e1/a+b"
LITERAL_KEY = "planted-literal-token-9Ka2"
QUERY_KEY = "planted-query-key-81bc/d+e="
KEYS = (CLIENT_KEY, POLICY_KEY, OTHER_KEY, LITERAL_KEY, QUERY_KEY)


def echo(seen: Seen) -> Answer:
    """A provider that says the keys it was given back: in headers, in the text, in an error."""
    said = " ".join([*(str(value) for value in seen.headers.values()), seen.path])
    if "fail" in seen.json()["model"]:
        return error(401, f"Incorrect API key provided: {said}", headers={"x-echo": said})
    words = chat_chunk({"role": "assistant", "content": f"You sent {said}"})
    end = [chat_chunk({}, "stop"), {**chat_chunk({}), "choices": [], "usage": USAGE}]
    return Answer(200, {**SSE, "x-echo": said, "set-cookie": "s=" + POLICY_KEY}, sse([words, *end]))


def leaks(folder: Path) -> list[str]:
    """The files under `folder` that hold a planted key, as it is or in a common encoding."""
    found = []
    for path in folder.rglob("*"):
        if not path.is_file() or path.name == "policy.yaml":
            continue
        data = everything(path)
        for key in KEYS:
            forms = {key, quote(key), quote(key, safe=""), json.dumps(key).replace("/", "\\/")}
            forms |= {base64.b64encode(key.encode()).decode().rstrip("=")}
            if any(form.encode() in data for form in forms):
                found.append(f"{path.name}: {key}")
    return found


def test_keys_stay_off_the_disk_and_out_of_the_output(tmp_path: Path) -> None:
    with Upstream(echo) as upstream:
        policy = f"""
providers:
  echo:
    base_url: "{upstream.url}/v1"
    protocol: chat
    key: "${{PLANTED_KEY}}"
    headers: {{ x-gateway: "${{PLANTED_TOKEN}}", x-other-token: {LITERAL_KEY} }}
    query: {{ code: "${{PLANTED_QUERY}}" }}
models:
  good: {{ provider: echo }}
  fail: {{ provider: echo }}
  own: {{ provider: reverse }}
  own-fail: {{ provider: reverse }}
"""
        env = {"PLANTED_KEY": POLICY_KEY, "PLANTED_TOKEN": OTHER_KEY, "PLANTED_QUERY": QUERY_KEY}
        with Chain(upstream.url, policy=policy, env=env, options={"upstream": "chat"}) as chain:
            for model in ("good", "fail", "own", "own-fail"):
                run_codex(chain.url, "hello", tmp_path / model, model=model, key=CLIENT_KEY)
            ask = {"model": "own", "input": "hello"}
            for headers in ({"authorization": f"Bearer {CLIENT_KEY}"}, {"x-api-key": CLIENT_KEY}):
                chain.post("/v1/responses", json=ask, headers=headers)
                # A key in the URL is the user's mistake; it is still not ours to write down.
                chain.post(f"/v1/responses?key={quote(CLIENT_KEY)}", json=ask, headers=headers)
            chain.stop()
            files = list(chain.record_dir.rglob("*.flow"))
            assert files and all(file.stat().st_size for file in files), "nothing was recorded"
            assert leaks(chain.folder) == []
    given = [f"{post.headers} {unquote(post.path)}" for post in upstream.posts()]
    for key in set(KEYS) - {CLIENT_KEY}:
        assert key in given[0], "the provider must get its keys"
    assert CLIENT_KEY not in given[0] and CLIENT_KEY in given[2]


def test_the_search_itself_finds_a_key(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.db").write_bytes(b"\0\1authorization: " + CLIENT_KEY.encode())
    (tmp_path / "b.txt").write_text(base64.b64encode(POLICY_KEY.encode()).decode())
    assert len(leaks(tmp_path)) == 2
