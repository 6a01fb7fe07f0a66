"""An isolated CODEX_HOME that sends Codex through Interpose; ``~/.codex`` is never touched."""

from __future__ import annotations

import json
from pathlib import Path

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.items import Table

from ..policy.schema import Policy
from . import edit
from .catalog import UNNAMED, catalog
from .config import PROVIDER, Setting
from .login import offered

CONFIG, CATALOG = "config.toml", "models.json"


class HomeError(Exception):
    """Why no isolated home can be written, in one line."""


def write_home(
    folder: str | Path,
    base_url: str,
    policy: Policy,
    model: str | None = None,
    env_key: str = "INTERPOSE_KEY",
) -> Path:
    """Write ``config.toml`` and the catalog into ``folder`` and return its absolute path.

    ``base_url`` is the chain's, with ``/v1``; ``model`` the name Codex asks for (else the policy's
    default, else its first model); ``env_key`` the variable Codex reads its key from. Other
    files in the folder (sessions, history) stay. HomeError when the folder is the user's own
    ``~/.codex``, cannot be written, or holds a ``config.toml`` this function did not write.
    """
    home = _not_codexs(folder)
    chosen = model or policy.default or next(iter(offered(policy)), UNNAMED)
    models = json.dumps(catalog(policy, [chosen]), ensure_ascii=False, indent=1)
    document = config(base_url, chosen, home / CATALOG, env_key)
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        written = home / CONFIG
        if written.exists() and not _ours(written):
            raise HomeError(f"{written} is there already and not Interpose's; name another folder")
        # Plain UTF-8: Codex takes a byte order mark for broken JSON.
        (home / CATALOG).write_text(models + "\n", encoding="utf-8")
        written.write_text(tomlkit.dumps(document), encoding="utf-8")
    except OSError as e:
        raise HomeError(f"{e.filename or home}: {e.strerror or e}") from None
    return home


def keep_home(folder: str | Path, setting: Setting) -> Path:
    """A home for the daemon in ``folder``; its absolute path.

    What Codex or its user has put there stays, in ``config.toml``, too. HomeError as above.
    """
    home = _not_codexs(folder)
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (home / CONFIG).exists():
            seed = config("", "", home / CATALOG, "")
            for name in ("model", "model_provider", "model_catalog_json", "model_providers"):
                del seed[name]
            # A daemon that died comes back; Codex may wait for it.
            del seed["features"]["unbounded_connection_retries"]
            edit.write(home / CONFIG, tomlkit.dumps(seed).encode())
    except OSError as e:
        raise HomeError(f"{e.filename or home}: {e.strerror or e}") from None
    edit.enable(home / CONFIG, setting)
    return home


def _not_codexs(folder: str | Path) -> Path:
    home = Path(folder).expanduser().absolute()
    if home.resolve() == (Path.home() / ".codex").resolve():
        raise HomeError(f"{home} is Codex's own home, which Interpose never touches; name another")
    return home


def config(base_url: str, model: str, catalog_file: Path, env_key: str) -> TOMLDocument:
    """The whole ``config.toml`` of an isolated home."""
    document = tomlkit.document()
    document.add(tomlkit.comment("Written by `interpose home`, and again each time it runs."))
    document["model"] = model
    document["model_provider"] = PROVIDER
    document["model_catalog_json"] = str(catalog_file)
    document.add(tomlkit.comment("A hosted tool of OpenAI, which no other model can call."))
    document["web_search"] = "disabled"
    document["check_for_update_on_startup"] = False
    document["model_providers"] = tomlkit.table(is_super_table=True)
    document["model_providers"][PROVIDER] = provider_table(base_url, env_key)
    features = tomlkit.table()
    features.add(tomlkit.comment("Without this, Codex waits for ever for a proxy that has ended."))
    features["unbounded_connection_retries"] = False
    features.add(tomlkit.comment("These look for plugins on the network at every start."))
    features["plugins"] = False
    features["apps"] = False
    document["features"] = features
    analytics = tomlkit.table()
    analytics["enabled"] = False
    document["analytics"] = analytics
    return document


def provider_table(base_url: str, env_key: str = "INTERPOSE_KEY") -> Table:
    """The ``[model_providers.interpose]`` table, as it also fits into a user's own config."""
    table = tomlkit.table()
    table["name"] = "Interpose"
    table["base_url"] = base_url
    table["wire_api"] = "responses"
    table["env_key"] = env_key
    return table


def paste_lines(base_url: str, model: str, has_catalog: bool) -> str:
    """The lines that send a user's own Codex through the chain, ready for ``config.toml``.

    ``has_catalog`` says whether the chain answers with one, which it does for a policy; clients
    that do not know ``model_catalog_url`` ignore it.
    """
    document = tomlkit.document()
    document["model"] = model
    document["model_provider"] = PROVIDER
    document["model_providers"] = tomlkit.table(is_super_table=True)
    table = provider_table(base_url)
    if has_catalog:
        table["model_catalog_url"] = f"{base_url}/models"
    document["model_providers"][PROVIDER] = table
    return tomlkit.dumps(document)


def _ours(path: Path) -> bool:
    try:
        return tomlkit.parse(path.read_text(encoding="utf-8")).get("model_provider") == PROVIDER
    except (ValueError, OSError):
        return False
