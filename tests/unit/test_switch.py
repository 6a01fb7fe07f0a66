"""Switching the model of a running chain: for whom it counts, and where it is kept."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from shim.client import Facts
from shim.codex import edit
from shim.daemon.files import Files
from shim.daemon.use import current_model, use, usual_model
from shim.policy.inforce import InForce
from shim.policy.load import parse_policy
from shim.route.decide import Choice, Decider
from shim.route.rules import Asked
from shim.route.switch import Switch, Switched, after
from shim.wire.protocols import codec

POLICY = parse_policy("""
models:
  usual: { provider: demo }
  other: { provider: demo, reasoning: [low, high] }
  third: { provider: demo }
default: usual
""")
URL = "http://127.0.0.1:8790/v1"


def decide(
    model: str, switched: Switched | None, default: str | None = None, began: float | None = None,
    decider: Decider | None = None,
) -> Choice:  # fmt: skip
    turn = codec("responses").read_request(json.dumps({"model": model, "input": "hi"}).encode())
    asked = Asked(turn, {}, Facts(thread=f"t{began}", started=began))
    made = decider or Decider()
    return made.decide(POLICY, InForce(POLICY).routes, asked, default, switched)


def test_what_stood_for_the_default_leads_to_the_new_one_in_threads_that_are_open() -> None:
    now = after(None, "other", ["usual", None], 100.0, only_older=True)
    found = decide("usual", now, began=99.0)
    assert found.names == ("other",) and found.reason == "the switch to it, instead of usual"
    # A thread that began later, or a client that names no thread, asks for it by its own choice.
    assert decide("usual", now, began=101.0).names == ("usual",)
    assert decide("usual", now).names == ("usual",)
    # Whoever asks for something else keeps it.
    assert decide("third", now, began=99.0).names == ("third",)
    assert decide("usual:high", now, began=99.0).names == ("other",)
    assert decide("usual:high", now, began=99.0).effort == "high"


def test_without_a_config_to_change_it_counts_for_all() -> None:
    now = after(None, "other", ["usual"], 100.0, only_older=False)
    assert decide("usual", now, began=101.0).names == decide("usual", now).names == ("other",)


def test_unknown_names_lead_to_it_also_in_threads_that_had_the_old_default() -> None:
    decider = Decider()
    assert decide("gpt-5.5", None, began=1.0, decider=decider).names == ("usual",)
    now = after(None, "other", ["usual"], 100.0, only_older=True)
    assert decide("gpt-5.5", now, "other", began=1.0, decider=decider).names == ("other",)


def test_back_and_forth() -> None:
    first = after(None, "other", ["usual", "usual"], 1.0, only_older=True)
    second = after(first, "third", ["usual", "other"], 2.0, only_older=True)
    assert (first.instead, second.instead) == (["usual"], ["usual", "other"])
    back = after(second, "usual", ["usual", "third"], 3.0, only_older=True)
    assert back.instead == ["other", "third"]
    assert decide("other", back, began=2.5).names == ("usual",)
    assert len(after(back, "x", [str(n) for n in range(99)], 4.0, only_older=True).instead) == 20


def test_a_model_that_has_gone_from_the_policy_is_none_to_switch_to() -> None:
    gone = Switched("gone", 1.0, ["usual"])
    assert decide("usual", gone).names == ("usual",)
    switch = Switch()
    switch.to(gone)
    assert switch.default(POLICY) is None
    switch.to(Switched("other", 2.0))
    assert switch.default(POLICY) == "other"


def test_a_file_is_read_again_when_another_process_writes_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "state" / "model.json"
    ours, others = Switch(file), Switch(file)
    assert ours.now() is None
    others.to(Switched("other", 1.0, ["usual"]))
    assert ours.now() == others.now() == Switched("other", 1.0, ["usual"])
    file.write_text("{")
    assert ours.now() is None and ours.now() is None
    assert len(caplog.records) == 1 and str(file) in caplog.text
    others.to(Switched("third", 2.0))
    assert ours.default(POLICY) == "third"
    file.unlink()
    assert ours.now() is None


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    monkeypatch.setenv("INTERPOSE_HOME", str(tmp_path / "state"))
    return Files()


def test_codexs_config_and_the_chain_are_told_at_once(files: Files, tmp_path: Path) -> None:
    config = tmp_path / "codex" / "config.toml"
    first = use("other", URL, files, POLICY, enable=False)
    assert first.file is None and first.switched.before is None and not config.exists()
    told = use("third", URL, files, POLICY, enable=True)
    assert told.file == config and told.changed
    assert current_model(config.read_bytes(), "") == "third"
    assert told.switched.instead == ["usual", "other"] and told.switched.before
    assert Switch(files.switched).now() == told.switched
    # The same again is nothing new: what began meanwhile has chosen for itself.
    assert use("third", URL, files, POLICY, enable=False).switched == told.switched
    # What Codex's own /model has written counts as what it asks for.
    text = config.read_text().replace('model = "third"', 'model = "usual"')
    config.write_text(text)
    again = use("third", URL, files, POLICY, enable=False)
    assert again.changed and again.switched.at > told.switched.at
    assert usual_model(files, POLICY) == "third"


def test_a_config_that_cannot_be_changed_changes_nothing(files: Files, tmp_path: Path) -> None:
    config = tmp_path / "codex" / "config.toml"
    use("other", URL, files, POLICY, enable=True)
    before = Switch(files.switched).now()
    config.write_text(config.read_text() + "= broken\n")
    with pytest.raises(edit.ConfigError, match=r"config.toml:\d+:\d+"):
        use("third", URL, files, POLICY, enable=False)
    assert Switch(files.switched).now() == before


def test_threads_tell_when_they_began() -> None:
    # What the rule of open sessions rests on.
    from shim.client import began

    assert began("01890a5d-ac96-774b-bcce-b302099a8057") == pytest.approx(1688130956.438, abs=1e6)
    assert began(str(uuid.uuid4())) is None
