"""The ways between Codex and the model: none, the chain in its settings, and the chain's peers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.systems import KEY, ROOT, Chain, LiteLLM, OpenCodex, System, _mitmdump


class Straight(System):
    """Nothing between: Codex asks the model itself."""

    name = "no proxy"

    def start(self) -> None:
        self.port = self.upstream

    def wait(self) -> None:
        pass


class Off(Chain):
    """The chain that translates and records, and edits nothing."""

    name = "interpose, all off"
    model = "m"
    #: What its policy says beyond where the model is.
    more: dict[str, Any] = {}

    def command(self) -> list[str]:
        policy = self.folder / "policy.yaml"
        provider = {"base_url": self.base_url, "key": KEY, "protocol": self.protocol}
        text = {"providers": {"up": provider}, "models": {"m": {"provider": "up"}}, **self.more}
        policy.write_text(json.dumps(text))
        return _mitmdump(
            self,
            ROOT / "addons" / "main.py",
            "http://127.0.0.1:9",
            f"policy={policy}",
            f"record_dir={self.folder}/flows",
        )


class Dedup(Off):
    """With dedup."""

    name = "interpose, dedup"
    more = {"dedup": {}}


class OffMessages(Off):
    """To a Messages upstream, without breakpoints."""

    protocol = "messages"


class DedupMessages(Dedup):
    protocol = "messages"


class Both(Off):
    """Dedup and breakpoints."""

    name = "interpose, dedup and breakpoints"
    protocol = "messages"
    more = {"dedup": {}, "cache": {}}


class Marks(Off):
    """Breakpoints alone."""

    name = "interpose, breakpoints"
    protocol = "messages"
    more = {"cache": {}}


class LiteLLMMessages(LiteLLM):
    """LiteLLM to a Messages upstream."""

    def params(self) -> dict[str, Any]:
        base = self.base_url.removesuffix("/v1")
        return {"model": "anthropic/m", "api_base": base, "api_key": KEY}


class OpenCodexMessages(OpenCodex):
    """opencodex with its adapter for Messages."""

    adapter = "anthropic"

    def env(self) -> Mapping[str, str]:
        return {**super().env(), "ANTHROPIC_API_KEY": KEY}


#: By the kind of cache that the model's provider has.
KINDS: dict[str, tuple[type[System], ...]] = {
    "automatic": (Off, Straight, Dedup, LiteLLM, OpenCodex),
    "breakpoints": (OffMessages, DedupMessages, Marks, Both, LiteLLMMessages, OpenCodexMessages),
}
