"""A codex-shim ``models.json`` as a policy, so that its users can switch in one command.

Understood: a bare list, or ``models``, ``customModels``, ``launchModels``, ``launch_models``;
fields in snake or camel case; a bare string, or ``provider: ollama``: a model of a local Ollama.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

_LISTS = ("models", "customModels", "custom_models", "launchModels", "launch_models")
_OLLAMA = "http://127.0.0.1:11434/v1"
_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
#: What stands for "no key needed" in such files.
_NO_KEYS = frozenset({"", "none", "ollama", "dummy", "any", "not-needed", "x"})


class ImportFailed(Exception):
    """Why a file cannot be imported, in one line that names it."""


def import_models(path: Path, *, keep_keys: bool = False) -> tuple[str, list[str]]:
    """(policy YAML, what the user has to know) for the models.json at ``path``.

    Keys become variables unless ``keep_keys``.
    """
    try:
        data = json.loads(path.expanduser().read_text("utf-8-sig"))
    except OSError as e:
        raise ImportFailed(f"{path}: cannot be read: {e.strerror or e}") from None
    except UnicodeDecodeError:
        raise ImportFailed(f"{path}: is not UTF-8 text") from None
    except ValueError as e:
        raise ImportFailed(f"{path}: is not valid JSON: {e}") from None
    made = _Import(keep_keys)
    for number, row in enumerate(_rows(data, path)):
        made.add(number, row)
    if not made.models:
        raise ImportFailed(f"{path}: names no model that can be used")
    head = f"# Made from {path.name} by `interpose policy import`.\n\n"
    policy: dict[str, Any] = {"providers": made.providers, "models": made.models}
    policy["default"] = next(iter(made.models))
    text = yaml.safe_dump(policy, sort_keys=False, allow_unicode=True)
    return head + text, made.notes


def _rows(data: Any, path: Path) -> list[Any]:
    if isinstance(data, dict):
        data = next((data[name] for name in _LISTS if data.get(name) is not None), None)
    if not isinstance(data, list):
        raise ImportFailed(f"{path}: holds no list of models; looked for {', '.join(_LISTS)}")
    return data


class _Import:
    def __init__(self, keep_keys: bool) -> None:
        self.providers: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.notes: list[str] = []
        self._keep = keep_keys

    def add(self, number: int, row: Any) -> None:
        """One entry of the list; what cannot be used is noted."""
        if isinstance(row, str):
            row = {"model": row, "provider": "ollama"}
        if not isinstance(row, dict):
            self.notes.append(f"entry {number}: left out, it is no model")
            return
        given = {_snake(name): value for name, value in row.items()}
        model = str(given.get("model") or "").strip()
        kind = str(given.get("provider") or "").strip().lower()
        url = str(given.get("base_url") or "").strip().rstrip("/")
        if not url and kind == "ollama":
            url = _OLLAMA
        if not model or not url:
            lacks = "model" if not model else "base_url"
            self.notes.append(f"entry {number} ({model or 'no name'}): left out, it has no {lacks}")
            return
        protocol = "messages" if kind == "anthropic" else "chat"
        if protocol == "messages" and not urlsplit(url).path.strip("/"):
            url += "/v1"
        key = str(given.get("api_key") or given.get("bearer_token") or "")
        headers = {str(k): str(v) for k, v in (given.get("extra_headers") or {}).items() if v}
        entry: dict[str, Any] = {"provider": self._provider(url, protocol, key, headers)}
        name = self._name(given, model)
        if name != model:
            entry["model"] = model
        if isinstance(limit := given.get("max_context_limit"), int) and limit > 0:
            entry["context_window"] = limit
        if given.get("no_image_support"):
            entry["images"] = False
        shown = str(given.get("display_name") or given.get("name") or "")
        if shown and shown != model:
            entry["description"] = shown
        if given.get("max_output_tokens"):
            self.notes.append(f"{name}: max_output_tokens is left to the client")
        self.models[name] = entry

    def _name(self, given: dict[str, Any], model: str) -> str:
        """What clients ask for: the slug they know."""
        wanted = str(given.get("slug") or model)
        slug = re.sub(r"[^a-z0-9]+", "-", wanted.lower()).strip("-") or "model"
        name, n = slug, 2
        while name in self.models:
            name, n = f"{slug}-{n}", n + 1
        return name

    def _provider(self, url: str, protocol: str, key: str, headers: dict[str, str]) -> str:
        """The provider's name; entries with the same address and key share one."""
        base = _host_name(url)
        wanted: dict[str, Any] = {"base_url": url}
        if protocol != "chat":
            wanted["protocol"] = protocol
        name, n = base, 2
        while True:
            made = {**wanted, **self._key(name, key)}
            if headers:
                made["headers"] = headers
            if self.providers.setdefault(name, made) == made:
                return name
            name, n = f"{base}-{n}", n + 1

    def _key(self, name: str, key: str) -> dict[str, str]:
        if key.lower() in _NO_KEYS:
            return {"auth": "none"}
        if self._keep or _VARIABLE.fullmatch(key):
            return {"key": key}
        variable = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_") + "_API_KEY"
        note = f"set {variable} to the key of {name}, which stands in the imported file"
        if note not in self.notes:
            self.notes.append(note)
        return {"key": f"${{{variable}}}"}


def _host_name(url: str) -> str:
    """A provider's name by its address: openrouter for https://openrouter.ai/api/v1."""
    parts = urlsplit(url)
    host = parts.hostname or "provider"
    if parts.port == 11434:
        return "ollama"
    if re.fullmatch(r"[\d.:]+|localhost", host):
        return f"local-{parts.port}" if parts.port else "local"
    labels = [label for label in host.split(".") if label not in ("api", "www")]
    return labels[-2] if len(labels) > 1 else labels[0]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z]+)", lambda m: "_" + m[1].lower(), str(name)).lower()
