"""`interpose opencode-go refresh` against a stand-in: what is written, and when nothing is."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shim.cli import main
from shim.cli.chain import DEFAULT_POLICY
from shim.cli.opencode_go import BLOCK
from shim.daemon.files import Files, Settings
from shim.opencode_go import answers, probe
from shim.opencode_go.answers import Judged, Stop
from shim.policy.block import BlockError
from shim.policy.load import load_policy
from tests.unit.opencode_stand_in import CHAT, KEY, StandIn, stand_in, wrong

pytestmark = pytest.mark.slow

POLICY = """# mine
providers:
  up: { base_url: "http://127.0.0.1:9/v1" }  # a trailing word
  # and one at the end

models:
  mine:
    provider: up
    description: |
      # no comment
      but a text

  # about what follows
default: mine
"""
TOOLS = wrong(400, "error", "[1210] tools")


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    monkeypatch.setenv("OPENCODE_API_KEY", KEY)
    monkeypatch.setenv("INTERPOSE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(probe, "_WAITS", (0.0, 0.0, 0.0))
    with stand_in() as server:
        server.models = {
            "glm-5.1": {"chat": True, "messages": TOOLS},
            "qwen3.7-max": {"messages": True},
            "kimi-k3": {"chat": True, "messages": True},
            "gone-soon": {"chat": wrong(403, "RegionError", "This model is not available here")},
        }
        yield server


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def refresh(go: StandIn, policy: Path, *words: str) -> int:
    return main(["opencode-go", "refresh", "--policy", str(policy), "--base-url", go.url, *words])


def made(path: Path) -> dict[str, str]:
    """What stands in the policy for the plan: the models' names and providers."""
    models = load_policy(path).models
    return {n: m.provider for n, m in models.items() if n.startswith("ocgo-")}


def test_each_model_gets_the_endpoint_that_serves_it(
    go: StandIn, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy.chmod(0o640)
    assert refresh(go, policy) == 0
    out, err = capsys.readouterr()
    text = policy.read_text()
    assert made(policy) == {
        "ocgo-glm-5.1": "ocgo", "ocgo-kimi-k3": "ocgo", "ocgo-qwen3.7-max": "ocgo-messages"
    }  # fmt: skip
    providers = load_policy(policy).providers
    assert providers["ocgo-messages"].protocol == "messages"
    assert providers["ocgo"].key == "${OPENCODE_API_KEY}" and providers["ocgo"].base_url == go.url
    assert KEY not in text + out + err
    assert "gone-soon: left out (status 403: This model is not available here)" in out
    assert "3 models of OpenCode Go: 3 new, 0 gone" in out
    assert BLOCK.strip(text, "p") == POLICY
    assert policy.stat().st_mode & 0o777 == 0o640
    assert len(go.seen) == 8 and len(go.sessions) == 1 and None not in go.sessions
    assert all(body["stream"] and body["tools"] for _, _, body in go.seen)


def test_once_more_changes_nothing_and_what_is_gone_disappears(go: StandIn, policy: Path) -> None:
    assert refresh(go, policy) == 0
    text, about = policy.read_text(), policy.stat()
    assert refresh(go, policy) == 0
    assert policy.read_text() == text and policy.stat().st_ino == about.st_ino
    del go.models["qwen3.7-max"]
    assert refresh(go, policy, "--prefer", "messages") == 0
    assert made(policy) == {"ocgo-glm-5.1": "ocgo", "ocgo-kimi-k3": "ocgo-messages"}
    assert BLOCK.strip(policy.read_text(), "p") == POLICY


def test_entries_of_ones_own_win(
    go: StandIn, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = POLICY.replace(
        "models:\n", "models:\n  ocgo-kimi-k3: { provider: up, context_window: 7 }\n"
    )
    own = own.replace("providers:\n", 'providers:\n  ocgo: { base_url: "http://mine/v1" }\n')
    policy.write_text(own)
    assert refresh(go, policy) == 0
    loaded = load_policy(policy)
    assert loaded.models["ocgo-kimi-k3"].context_window == 7
    assert loaded.providers["ocgo"].base_url == "http://mine/v1"
    assert "your own entries are kept instead: ocgo-kimi-k3" in capsys.readouterr().out
    assert BLOCK.strip(policy.read_text(), "p") == own


def test_a_dry_run_shows_what_would_change(
    go: StandIn, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refresh(go, policy, "--dry-run") == 0
    out = capsys.readouterr().out
    assert '+  ocgo-glm-5.1: { provider: "ocgo", model: "glm-5.1", images: false }' in out
    assert f"{policy} is as it was" in out and policy.read_text() == POLICY


def test_what_could_not_be_tried_stays_as_it_was(
    go: StandIn, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refresh(go, policy, "--prefer", "messages") == 0
    before = made(policy)
    busy = wrong(429, "rate_limit_error", "Provider rate limit exceeded")
    go.models["kimi-k3"]["messages"] = busy
    go.models["glm-5.1"] = {"chat": wrong(503, "error", "down"), "messages": busy}
    go.models["new"] = {"chat": busy}
    assert refresh(go, policy, "--prefer", "messages") == 0
    assert made(policy) == before
    out = capsys.readouterr().out
    assert "kimi-k3: kept as it was" in out and "new: left out (status 429" in out


def test_retry_after_is_waited_for_within_reason(go: StandIn, policy: Path) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def ask() -> probe.Found:
        plan = probe.Plan(go.url, KEY, "s", sleep)
        try:
            return await plan.probe(["kimi-k3", "glm-5.1"], lambda n, of: None)
        finally:
            await plan.close()

    go.models["kimi-k3"]["chat"] = [wrong(429, "rate_limit_error", "slowly", retry_after="7"), True]
    go.models["glm-5.1"]["chat"] = wrong(429, "rate_limit_error", "later", retry_after="3600")
    found = asyncio.run(ask())
    assert slept == [7.0]
    assert found["kimi-k3", "chat"].verdict == "yes"
    assert found["glm-5.1", "chat"] == Judged("unknown", "status 429: later", 3600.0)


def test_only_so_many_are_asked_at_once(go: StandIn) -> None:
    go.models = {f"m{n}": {"chat": True, "messages": True} for n in range(20)}
    go.hold.clear()
    steps: list[tuple[int, int]] = []

    async def ask() -> None:
        plan = probe.Plan(go.url, KEY, "s")
        work = asyncio.create_task(plan.probe(list(go.models), lambda n, of: steps.append((n, of))))
        async with asyncio.timeout(10):
            while go.under_way < probe.AT_ONCE:
                await asyncio.sleep(0.005)
        go.hold.set()
        await work
        await plan.close()

    asyncio.run(ask())
    assert go.most == probe.AT_ONCE and steps[-1] == (40, 40) and len(steps) == 40


HTML = (200, b"<html>", {})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"list_answers": [wrong(401, "AuthError", "Invalid API key.")]}, "it refuses the key"),
        ({"list_answers": [HTML]}, "its model list is not JSON"),
        ({"list_answers": [(200, b"{}", {})]}, "there is no list data"),
        ({"list_answers": [(200, b"[" * 200_000, {})]}, "is not JSON"),
        ({"list_answers": [(200, b"x" * (2 << 20), {})]}, "larger than 1 MB"),
        ({"list_answers": [(302, b"", {"location": "http://127.0.0.1:9/"})]}, "status 302"),
        ({"list_answers": [(503, b"", {})] * 3}, "status 503"),
        ({"list_answers": [wrong(429, "x", "no", retry_after="9999")]}, "asks to wait 9999 s"),
        ({"models": {}}, "its model list is empty"),
        ({"models": {"$(id)": {}, "a\x1b[2J": {}}}, "its model list is empty"),
        ({"models": {"a": {"chat": wrong(401, "CreditsError", "No credits")}}}, "has nothing left"),
        (
            {"models": {"a": {"chat": wrong(429, "GoUsageLimitError", "5 days", retry_after="9")}}},
            "the plan has nothing left (status 429: 5 days)",
        ),
        ({"models": {"a": {}}}, "none of its 1 models answers"),
        ({"models": {"a": {"chat": HTML, "messages": HTML}}}, "nothing that is known"),
        ({"models": {"a": {"chat": (200, b"data: {}\n\n" * 9000, {})}}}, "no event that is known"),
        ({"models": {"a": {"chat": (200, b'data: {"error": {"message": "x"}}\n\n', {})}}}, ": x"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_and_the_file_is_as_it_was(
    change: dict[str, Any], said: str, go: StandIn, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in change.items():
        setattr(go, name, value)
    assert refresh(go, policy) == 1
    err = capsys.readouterr().err
    assert said in err and f"{policy} is as it was" in err
    assert err.count("\n") == 1 and KEY not in err and "\x1b" not in err
    assert policy.read_text() == POLICY


def test_a_bad_key_is_told_though_every_error_is_a_401(
    go: StandIn, policy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENCODE_API_KEY", KEY[:-1] + "!")
    assert refresh(go, policy) == 1
    err = capsys.readouterr().err
    assert "it refuses the key" in err and KEY[:-1] not in err
    assert len(go.seen) <= 2 * probe.AT_ONCE


def test_a_dead_host(
    policy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    words = ["--base-url", "http://127.0.0.1:9/v1", "--api-key-env", "MY_KEY"]
    began = time.monotonic()
    assert main(["opencode-go", "refresh", "--policy", str(policy), *words]) == 1
    assert "it cannot be reached" in capsys.readouterr().err and time.monotonic() - began < 10
    assert policy.read_text() == POLICY


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--api-key-env", KEY], 2, "takes the name of a variable"),
        (["--api-key-env", "NOT_SET"], 1, "NOT_SET is not set"),
        (["--base-url", "http://opencode.example/v1"], 2, "must be https://"),
        (["--base-url", "https://me:pw@opencode.example/v1"], 2, "without a password"),
        (["--base-url", "https://x:99999"], 2, "must be an https:// address"),
        (["--policy", "nowhere.yaml"], 1, "nowhere.yaml:1:1: cannot be read"),
    ],
)
def test_bad_words(
    words: list[str],
    code: int,
    said: str,
    go: StandIn,
    policy: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["opencode-go", "refresh", "--policy", str(policy), *words]) == code
    err = capsys.readouterr().err
    assert said in err and KEY not in err and not go.seen


def test_the_policy_of_interpose_itself_is_not_written_to(
    go: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], policy: Path
) -> None:
    monkeypatch.delenv("INTERPOSE_POLICY", raising=False)
    assert main(["opencode-go", "refresh", "--base-url", go.url]) == 2
    assert "which policy?" in capsys.readouterr().err
    monkeypatch.setenv("INTERPOSE_POLICY", str(policy))
    assert main(["opencode-go", "refresh", "--base-url", go.url]) == 0
    assert made(policy)
    Files().keep(Settings(str(DEFAULT_POLICY)))
    assert main(["opencode-go", "refresh", "--base-url", go.url]) == 2
    policy.write_text(POLICY)
    monkeypatch.delenv("INTERPOSE_POLICY")
    Files().keep(Settings(str(policy)))
    assert main(["opencode-go", "refresh", "--base-url", go.url]) == 0
    assert made(policy)


def test_a_policy_that_asks_for_a_model_that_is_gone_is_not_broken(
    go: StandIn, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refresh(go, policy) == 0
    policy.write_text(policy.read_text().replace("default: mine", "default: ocgo-kimi-k3"))
    text = policy.read_text()
    del go.models["kimi-k3"]
    assert refresh(go, policy) == 1
    assert "default: no model ocgo-kimi-k3" in capsys.readouterr().err
    assert policy.read_text() == text


ENTRIES = {
    "providers": {"ocgo": {"base_url": "https://x/v1", "key": "${K}"}},
    "models": {"ocgo-a": {"provider": "ocgo", "model": "a", "images": False}},
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing but words",
        "default: ocgo-a",
        POLICY,
        POLICY.replace("\n", "\r\n"),
        "﻿" + POLICY,
        POLICY.rstrip(),
        'models:\n      deep: { provider: demo,\n        images: true }\ndefault: ocgo-a',
        "models:\n  a: &a\n    provider: demo\n    reasoning: [low,\n      high]\n  b: *a\n# end\n",
        "models:\n  a:\n    provider: demo\n    description: |+\n      text\n\n\ndefault: a\n",
        "models:\n  a:\n    provider: demo\n    description: >-\n      last words",
        "models:\n  a:\n    provider: demo\n    description: a text\n      over two lines\n",
        'models:\n  "quoted": { provider: demo }\n\n\ncatch:\n- { tag: x }\n',
        "---\nmodels:\n  a:\n    provider: demo\n    fallbacks:\n    - demo:x\n",
    ],
)  # fmt: skip
def test_the_block_goes_in_and_out_of_any_policy(text: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    once = BLOCK.apply(text, ENTRIES, path)
    assert BLOCK.apply(once, ENTRIES, path) == once
    stripped = BLOCK.strip(once, "p")
    assert stripped == text or stripped.rstrip("\r\n") == text
    assert BLOCK.entries(once, "p") == ENTRIES
    assert "\r\n" not in text or "\n" not in once.replace("\r\n", "")
    path.write_bytes(once.encode())
    assert "ocgo-a" in load_policy(path).models


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models: { a: { provider: demo } }\n", "p:1: models stands in braces"),
        ("models:\n", "models"),
        ("x\n", "must be a mapping"),
        ("default: ocgo-a\n...\n", "p: no entry can be put behind its last one"),
        (
            "models:\n a:\n  provider: demo\n  description: |\n   x",
            "end its last line with a line break",
        ),
        ("a: 1\n  # interpose opencode-go: begin\n", "p:2: this mark has no end"),
        ("# interpose opencode-go: end\n", "p:1: this mark has no begin"),
        ("a: [\n", "p:2:1: not valid YAML"),
    ],
)
def test_what_cannot_be_edited_is_refused(text: str, said: str) -> None:
    with pytest.raises(BlockError) as refused:
        BLOCK.apply(text, ENTRIES, Path("p"))
    assert said in str(refused.value)


def test_a_link_to_the_policy_stays_one(go: StandIn, policy: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    os.symlink(policy, link)
    assert refresh(go, link) == 0
    assert link.is_symlink() and made(policy)


def test_the_first_event_decides_wherever_the_stream_is_cut() -> None:
    stream = b": wait\n\nevent: ping\ndata: {}\n\n" + CHAT
    assert [answers.first_event("chat", stream[:n]) for n in range(len(stream) - 1)] == [None] * (
        len(stream) - 1
    )
    assert answers.first_event("chat", stream) == Judged("yes")
    assert answers.whole("chat", b'{"choices": []}').verdict == "yes"
    with pytest.raises(Stop, match="refuses the key"):
        answers.refusal(403, {}, b'{"error": {"message": "Missing API key."}}')
