"""``config.toml`` of the user's own Codex: is it TOML, and does its provider lead anywhere?"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ..client import is_loopback
from ..codex.config import PROVIDER, enabled
from .finding import Finding, Section, shown

#: Providers that Codex brings along.
_BUILT_IN = ("openai", "ollama", "lmstudio", "amazon-bedrock", "oss")
#: Whether something listens at (host, port) of this machine.
Listens = Callable[[str, int], bool]
#: Whether a word is a program that can be run.
Runs = Callable[[str], bool]


class Config(msgspec.Struct, frozen=True):
    """What the other sections need of the file; all empty where it says nothing."""

    data: dict[str, Any] = {}
    provider: str = ""
    entry: dict[str, Any] = {}
    base_url: str = ""
    model: str = ""
    catalog: str = ""
    enabled: bool = False

    @property
    def loopback(self) -> tuple[str, int] | None:
        """(host, port) on this machine to which Codex sends its turns."""
        return loopback(self.base_url)


def loopback(url: str) -> tuple[str, int] | None:
    """(host, port) of an address on this machine; None for any other."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not is_loopback(host):
        return None
    return host, port or (443 if parts.scheme == "https" else 80)


def config(
    raw: bytes | None, path: Path, env: Mapping[str, str], listens: Listens, runs: Runs
) -> tuple[Config, list[Finding]]:
    """What ``raw`` says, and what is wrong with it."""
    section = Section("Config")
    if raw is None:
        section.ok(f"{path} is not there: Codex asks OpenAI, not Interpose")
        return Config(), section.found
    try:
        data = tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as e:
        line = raw[: e.start].count(b"\n") + 1
        section.fail(f"{path}: line {line}: is not UTF-8 text", "save it as UTF-8")
        return Config(), section.found
    except (tomllib.TOMLDecodeError, RecursionError) as e:
        said = str(e) if isinstance(e, tomllib.TOMLDecodeError) else "is nested too deeply"
        section.fail(f"{path} is no valid TOML: {said}", "correct that line: Codex does not start")
        return Config(), section.found
    found = msgspec.structs.replace(_config(data), enabled=enabled(raw))
    if found.enabled:
        section.ok(f"{path} holds Interpose's block (`interpose disable` takes it out)")
    _provider(section, found, path, env, listens, runs)
    _others(section, found, path, listens)
    if not section.found:
        section.ok(f"{path}: provider {found.provider or 'openai'}, as Codex brings it along")
    return found, section.found


def _config(data: dict[str, Any]) -> Config:
    profile = _table(_table(data, "profiles"), _text(data, "profile"))
    name = _text(profile, "model_provider") or _text(data, "model_provider")
    entry = _table(_table(data, "model_providers"), name)
    url = _text(entry, "base_url")
    if name in ("", "openai"):
        url = _text(data, "openai_base_url")
    return Config(
        data=data,
        provider=name,
        entry=entry,
        base_url=url,
        model=_text(profile, "model") or _text(data, "model"),
        catalog=_text(profile, "model_catalog_json") or _text(data, "model_catalog_json"),
    )


def _provider(
    section: Section,
    found: Config,
    path: Path,
    env: Mapping[str, str],
    listens: Listens,
    runs: Runs,
) -> None:
    """The provider that is in use."""
    name, entry = found.provider, found.entry
    if name and not entry and name not in _BUILT_IN:
        section.fail(
            f"{path}: model_provider is {name}, and there is no [model_providers.{name}]",
            "correct the name, or take the line out",
        )
        return
    command = _text(_table(entry, "auth"), "command")
    if command and not runs(command):
        section.fail(
            f"the command that gives {name} its key cannot be run: {command}",
            "`interpose enable` again" if name == PROVIDER else "correct auth.command",
        )
    if place := found.loopback:
        _loopback(section, found, path, place, listens(*place), bool(command and runs(command)))
    elif found.base_url:
        section.ok(f"provider {name or 'openai'} at {shown(found.base_url)}")
    if entry:
        _entry(section, name, entry, env)
    if _text(found.data, "chatgpt_base_url").startswith("http://"):
        section.fail(
            "chatgpt_base_url is http://, which Codex refuses: every turn fails",
            "take the line out; openai_base_url may be http://",
        )


def _loopback(
    section: Section,
    found: Config,
    path: Path,
    place: tuple[str, int],
    alive: bool,
    starts_itself: bool,
) -> None:
    where = f"{shown(found.base_url)} (provider {found.provider or 'openai'} in {path})"
    if alive:
        section.ok(f"Codex sends its turns to {where}, where something listens")
    elif starts_itself and found.provider == PROVIDER:
        section.ok(f"Codex sends its turns to {where}; the next turn starts the daemon there")
    else:
        key = "model_provider" if found.provider not in ("", "openai") else "openai_base_url"
        section.fail(
            f"Codex sends every turn to {where}, and nothing listens there: it waits for ever",
            f"start a chain there: `interpose serve --port {place[1]}`; or take the line {key} out",
        )


def _entry(section: Section, name: str, entry: dict[str, Any], env: Mapping[str, str]) -> None:
    """The fields of the entry in use."""
    at = f"[model_providers.{name}]"
    if not _text(entry, "name").strip():
        section.fail(f"{at} has no name, and Codex insists on one", 'add name = "…"')
    elif entry["name"] == "OpenAI" and "openai" not in shown(_text(entry, "base_url")):
        section.warn(
            f"{at} is named OpenAI: Codex then compacts in a way only OpenAI's models can answer",
            "give it another name",
        )
    wire = entry.get("wire_api", "responses")
    if wire != "responses":
        section.fail(f"{at}: Codex takes no wire_api but responses", 'wire_api = "responses"')
    variable = _text(entry, "env_key")
    if variable and not env.get(variable):
        section.warn(
            f"{at}: the variable {variable} is not set in this shell, and Codex asks for it",
            f"`export {variable}=any`" if name == PROVIDER else f"export {variable} with the key",
        )
    if "experimental_bearer_token" in entry:
        section.warn(f"{at}: a key stands in the file", "use env_key and a variable instead")


def _others(section: Section, found: Config, path: Path, listens: Listens) -> None:
    """Providers that are not in use, but may be picked."""
    for name, entry in _table(found.data, "model_providers").items():
        if name == found.provider or not isinstance(entry, dict):
            continue
        place = loopback(_text(entry, "base_url"))
        if place and not listens(*place):
            section.warn(
                f"{path}: provider {name} (not in use) points at port {place[1]}, where nothing"
                " listens",
                "start what belongs there before you pick it, or take the entry out",
            )


def _table(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""
