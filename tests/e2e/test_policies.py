"""The example policies with the real Codex: each checked, run, and explained from its recording."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from addons.flowfile import read
from addons.offline import Replayer
from shim.cli import main
from shim.policy.load import examine, load_policy
from shim.record.summary import decisions
from tests.e2e.answers import by_outputs, chat_tool, chat_turn, messages_turn
from tests.e2e.chain import ROOT, Chain
from tests.e2e.clients import CodexRun, run_codex
from tests.e2e.upstreams import Answer, Seen, Upstream, closed_port
from tests.everything import everything

FOLDER = ROOT / "policies"
KEYS = {
    name: f"sk-planted-{name.lower()}-0123456789"
    for name in ("OPENROUTER_API_KEY", "OPENAI_API_KEY", "DEEPSEEK_API_KEY", "ANTHROPIC_API_KEY")
}
CUSTOMER, SECRET = "CUST-123456", "ghp_0123456789abcdefghijklmnopqrstuvwxyz"


def well(seen: Seen) -> Answer:
    """Whoever is asked says its model's name, in the protocol it was asked in."""
    body = seen.json()
    turn = messages_turn if seen.path.endswith("/messages") else chat_turn
    return turn(f"This is {body['model']}.", (), (), bool(body.get("stream")))


def example(name: str, urls: Mapping[str, str] | str) -> str:
    """The example policy, with its providers at ``urls``: one for all, or by provider."""
    text = (FOLDER / f"{name}.yaml").read_text("utf-8")

    def there(match: re.Match[str]) -> str:
        url = urls if isinstance(urls, str) else urls[match[1]]
        return f"  {match[1]}:\n    base_url: {url}/v1"

    return re.sub(r"^  ([\w-]+):\n    base_url: \S+", there, text, flags=re.M)


def rows(chain: Chain) -> list[dict[str, Any]]:
    return list(chain.get("/health?exchanges=1").json()["exchanges"])


def said(run: CodexRun) -> str:
    assert not run.failure and not run.visible, run.explain()
    return run.final_text


def replays(chain: Chain) -> None:
    """What the chain has recorded replays, from the recordings alone and with the policy again."""
    given = [load_policy(chain.policy_file)] if chain.policy_file.exists() else []
    for policy in (None, *given):
        with Replayer(policy) as replayer:
            for path in sorted(chain.record_dir.glob("*.flow")):
                for recorded in read(path):
                    replayed = replayer.run(recorded)
                    assert not replayed.differences, "\n".join(map(str, replayed.differences))
                    assert not replayed.not_compared, replayed.not_compared


def explained(chain: Chain, capfd: pytest.CaptureFixture[str]) -> str:
    """What ``interpose policy explain`` tells of the chain's own recordings."""
    rows(chain)
    replays(chain)
    capfd.readouterr()
    assert main(["policy", "explain", str(chain.record_dir)]) == 0
    return capfd.readouterr().out


@pytest.mark.parametrize("name", sorted(p.stem for p in FOLDER.glob("*.yaml")))
def test_an_example_is_checked(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text("utf-8")
    assert text.startswith("# yaml-language-server: $schema=./schema.json\n")
    report = examine(text, name, FOLDER, environ=KEYS)
    named = [w for w in report.warnings if "is not set" not in w.message]
    assert report.policy and not report.problems and not named, named


def test_default(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with (
        Upstream(well) as upstream,
        Chain(policy=example("default", upstream.url), env=KEYS) as chain,
    ):
        run = run_codex(chain.url, "Hello.", tmp_path, model="kimi-k2")
        assert said(run) == "This is moonshotai/kimi-k2."
        assert "openrouter/moonshotai/kimi-k2 by the model's name" in explained(chain, capfd)


def test_local_first(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Upstream(well) as cloud, Upstream(well) as local:
        there = {"openrouter": cloud.url, "ollama": f"http://127.0.0.1:{closed_port()}"}
        with Chain(policy=example("local-first", there), env=KEYS) as chain:
            run = run_codex(chain.url, "Hello.", tmp_path / "down", model="local")
            assert said(run) == "This is moonshotai/kimi-k2."
            chain.policy_file.write_text(example("local-first", {**there, "ollama": local.url}))
            run = run_codex(chain.url, "Hello.", tmp_path / "up", model="local")
            assert said(run) == "This is qwen3-coder:30b."
            told = explained(chain, capfd)
            assert "failover: ollama: nothing listens" in told and "a fallback of local" in told


def test_offline(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Upstream(well) as local:
        there = {"openai": "http://no-such-host.invalid", "lmstudio": local.url}
        with Chain(policy=example("offline", there), env=KEYS) as chain:
            first = run_codex(chain.url, "Hello.", tmp_path / "one", model="main")
            second = run_codex(chain.url, "Hello.", tmp_path / "two", model="main")
            assert said(first) == said(second) == "This is qwen/qwen3-coder-30b."
            assert "local passed over" not in explained(chain, capfd)
            assert "main passed over: left alone" in decisions(rows(chain)[-1])[0]


@pytest.mark.full
def test_without_its_key_a_provider_counts_as_down(tmp_path: Path) -> None:
    with Upstream(well) as local:
        there = {"openai": "http://127.0.0.1:9", "lmstudio": local.url}
        with Chain(policy=example("offline", there), env={"OPENAI_API_KEY": ""}) as chain:
            run = run_codex(chain.url, "Hello.", tmp_path, model="main")
            assert said(run) == "This is qwen/qwen3-coder-30b."
            warned = chain.health()["policy"]["warnings"]
            assert any("OPENAI_API_KEY is not set: openai counts as down" in w for w in warned)
        alone = example("offline", there).replace("    fallbacks: [local]\n", "")
        with Chain(policy=alone, env={"OPENAI_API_KEY": ""}) as chain:
            run = run_codex(chain.url, "Hello.", tmp_path / "alone", model="main")
            assert "openai" in run.failure and "OPENAI_API_KEY" in run.failure
            assert len(rows(chain)) == 1


@pytest.mark.full
def test_cheap_first(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Upstream(well) as upstream:
        with Chain(policy=example("cheap-first", upstream.url), env=KEYS) as chain:
            easy = run_codex(chain.url, "Fix the typo.", tmp_path / "easy", model="work")
            hard = run_codex(chain.url, "Fix the lock. #hard", tmp_path / "hard", model="work")
            named = run_codex(chain.url, "Fix it. #hard", tmp_path / "named", model="cheap")
            told = explained(chain, capfd)
        assert easy.final_text == named.final_text == "This is deepseek-chat."
        assert hard.final_text == "This is claude-sonnet-4-5."
        assert "by the rule ordinary" in told and "by the rule asked-for" in told
        assert "catch: rule hard applied once" in told


def test_pinned(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Upstream(well) as upstream:
        chain = Chain(policy=example("pinned", upstream.url), env=KEYS)
        pinned = chain.policy_file.parent / "pinned.md"
        pinned.write_text((FOLDER / "pinned.md").read_text("utf-8"))
        with chain:
            for name in ("shop", "other"):
                run = run_codex(chain.url, f"Hello {name}.", tmp_path / name, model="kimi-k2")
                assert said(run) == "This is moonshotai/kimi-k2."
            assert "rule shop applied once" in explained(chain, capfd)
        shop, other = (upstream.posts(f"Hello {name}.")[0].json() for name in ("shop", "other"))
        assert "Prices are whole cents" in shop["messages"][0]["content"]
        assert "Prices are whole cents" not in other["messages"][0]["content"]
        names = [t["function"]["name"] for t in shop["tools"]]
        assert "exec_command" in names and "web_search" not in names


def test_auto(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Chain(policy=FOLDER / "auto.yaml") as chain:
        run = run_codex(chain.url, "Say hello.", tmp_path / "one", model="codex-auto")
        assert run.exit_code == 0 and not run.failure, run.explain()
        run = run_codex(chain.url, "Say hello.", tmp_path / "two", model="codex-auto")
        told = explained(chain, capfd)
        assert "auto, the cheapest at or above 0.7" in told and "auto, cached: the cheapest" in told


def test_frugal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What is read twice is sent once, the prompt is marked, and the statistics tell of it."""
    workdir = tmp_path / "frugal"
    workdir.mkdir()
    (workdir / "long.txt").write_text("".join(f"line {n} of a long file\n" for n in range(200)))

    def script(seen: Seen) -> Answer:
        body = seen.json()
        calls = [b for m in body["messages"] for b in m["content"] if b["type"] == "tool_result"]
        if len(calls) < 2:
            cat = (f"toolu_{len(calls)}", "exec_command", {"cmd": "cat long.txt"})
            return messages_turn("", [cat], (), True, str(len(calls)))
        return messages_turn("Read it twice.", (), (), True, "3")

    with Upstream(script) as upstream:
        with Chain(policy=example("frugal", upstream.url), env=KEYS) as chain:
            run = run_codex(chain.url, "Read it.", workdir, model="sonnet")
            assert said(run) == "Read it twice."
            told = explained(chain, capfd)
            assert "dedup: 1 run of 20" in told
            assert main(["stats", str(chain.record_dir), "--json"]) == 0
        last = upstream.posts()[-1].json()
    whole = json.loads(capfd.readouterr().out)["all"]
    assert whole["turns"] == 3 and whole["saved"] > 0 and whole["dollars"] > 0
    results = [b for m in last["messages"] for b in m["content"] if b["type"] == "tool_result"]
    assert "line 199 of a long file" in results[0]["content"]
    assert "[^same as lines" in results[1]["content"] and "line 199" not in results[1]["content"]
    marked = [b for m in last["messages"] for b in m["content"] if "cache_control" in b]
    assert len(marked) == 2 and "cache_control" in last["system"][-1]
    assert "cache_control" in last["tools"][-1]


PATCH = """*** Begin Patch
*** Update File: notes.txt
@@
-old
+{}
*** End Patch
"""


def test_team(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What is masked on its way out comes back whole: in the text, and in the file it patches."""
    workdir = tmp_path / "team"
    workdir.mkdir()
    (workdir / "notes.txt").write_text("old\n")
    (workdir / "token.txt").write_text(f"token = {SECRET}\n")

    def script(seen: Seen) -> Answer:
        masks = re.findall(rb"MASKED_(?:KEYS|CUSTOMER)_[0-9a-f]{12}", seen.body)
        text = " ".join(dict.fromkeys(m.decode() for m in masks))
        steps = [
            chat_tool("exec_command", {"cmd": "cat token.txt"}, "call_look"),
            chat_tool("apply_patch", {"input": PATCH.format(text)}, "call_patch"),
            chat_turn(f"Wrote {text}.", (), (), True),
        ]
        return by_outputs(steps)(seen)

    with Upstream(script) as upstream:
        with Chain(policy=example("team", upstream.url), env=KEYS) as chain:
            run = run_codex(chain.url, f"Note {CUSTOMER} and the token.", workdir, model="team")
            assert said(run) == f"Wrote {CUSTOMER} {SECRET}.", run.explain()
            assert (workdir / "notes.txt").read_text() == f"{CUSTOMER} {SECRET}\n"
            refused = run_codex(
                chain.url, "Drop the production database.", tmp_path / "no", model="team"
            )
            assert refused.failure.startswith("The production database is off limits for agents")
            told = explained(chain, capfd)
            assert "rule house-style applied once" in told and "secrets masked" in told
            files = [everything(p) for p in chain.record_dir.rglob("*.flow")]
        assert len(upstream.posts()) == 3
    for body in (*(seen.body for seen in upstream.posts()), *files, told.encode()):
        assert SECRET.encode() not in body and CUSTOMER.encode() not in body
    first, second = (seen.json()["messages"] for seen in upstream.posts()[:2])
    assert second[: len(first)] == first


def test_try_shows_who_is_given_what(capfd: pytest.CaptureFixture[str]) -> None:
    """Trivial, ordinary, hard, with a picture, and the first once more; without key or network."""
    assert main(["policy", "try", str(FOLDER / "auto.yaml")]) == 0
    told = capfd.readouterr().out
    models = re.findall(r"  (cheap|mid|strong|vision) +  auto", told)
    assert models == ["cheap", "mid", "strong", "vision", "cheap"], told
    assert told.count("cached") == 1
    assert main(["policy", "try", str(FOLDER / "auto.yaml"), "Hello", "--model", "mid"]) == 0
    assert re.search(r"  mid +the model's name", capfd.readouterr().out)
