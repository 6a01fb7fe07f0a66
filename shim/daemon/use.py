"""Which model is used: what Codex's config asks for, and what the daemon's chain takes for default.

`interpose model use` and the chain's picker both come here, so one of them goes on where the other
stopped.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from ..codex import edit
from ..codex.catalog import UNNAMED
from ..codex.config import PROVIDER, Setting, enabled, read
from ..codex.login import offered
from ..codex.where import config_file, own_command
from ..policy.schema import Policy
from ..route import switch
from ..route.decide import is_known
from ..route.initial import instead_of_demo
from ..route.switch import Switched
from .files import Files


@dataclass(frozen=True)
class Used:
    """What has come of it. ``file`` is the config that new sessions of Codex read, None where
    that does not lead to the daemon; ``changed``: it asks for another model than before."""

    switched: Switched
    file: Path | None
    changed: bool


def use(model: str, base_url: str, files: Files, policy: Policy, *, enable: bool) -> Used:
    """Have ``model`` answer from now on; Codex's config says so where it leads to the daemon, or
    with ``enable``. ConfigError, and nothing changed, when it cannot be written."""
    file = config_file()
    raw = edit.read(file) or b""
    asks, had = enable or enabled(raw), current_model(raw, str(file))
    changed = asks and edit.enable(file, Setting(model, base_url, ensure_command(files)))
    last = switch.read(files.switched)
    if last and last.model == model and not changed:
        return Used(last, file if asks else None, False)
    kept = files.settings()
    names = [default_model(policy, kept.model if kept else ""), had]
    made = switch.after(last, model, names, time.time(), only_older=asks)
    switch.write(files.switched, made)
    return Used(made, file if asks else None, changed)


def ensure_command(files: Files) -> list[str]:
    """What Codex runs for the key, also from an environment that knows nothing of ours."""
    return [*own_command(), "ensure", "--state", str(files.folder)]


def current_model(raw: bytes, name: str) -> str | None:
    """The model that Codex asks Interpose for; None when it is not sent through it."""
    found = read(raw, name)
    ours = enabled(raw) and found.get("model_provider") == PROVIDER
    model = found.get("model") if ours else None
    return model if isinstance(model, str) else None


def usual_model(files: Files, policy: Policy, chosen: str = "") -> str:
    """The one Codex asks for when nobody says: the one switched to last, else the default."""
    return switched_to(files, policy) or default_model(policy, chosen)


def switched_to(files: Files, policy: Policy) -> str | None:
    """The model that the user has switched to, if the policy still knows it."""
    last = switch.read(files.switched)
    return last.model if last and may_ask(last.model, policy) else None


def default_model(policy: Policy, chosen: str = "") -> str:
    """The one that answers for unknown names where nothing was switched: ``chosen`` for the user
    as the daemon was started, where the policy has the demo only, else the policy's."""
    return instead_of_demo(policy, chosen) or first_model(policy)


def first_model(policy: Policy) -> str:
    """The one a policy means when nobody says."""
    return policy.default or next(iter(offered(policy)), UNNAMED)


def may_ask(model: str, policy: Policy) -> bool:
    """Whether the policy knows ``model``, as a name or as PROVIDER:upstream-model."""
    return is_known(policy, model) or model == policy.default
