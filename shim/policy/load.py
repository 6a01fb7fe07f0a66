"""Reads a policy file and says, in one line with file and line number, what is wrong with it."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import yaml

from .schema import BUILT_IN, Model, Policy, Provider

_S = TypeVar("_S", bound=msgspec.Struct)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_FIELD = re.compile(r" - at `\$\.?([^`]*)`$")
_DEEPEST = 20


class PolicyError(Exception):
    """What is wrong with a policy, in one line: ``FILE:LINE: FIELD: what; the nearest name``."""


class MissingVariable(Exception):
    """A ``${NAME}`` of the policy is not in the environment; ``name`` says which."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def expand(text: str, environ: Mapping[str, str] | None = None) -> str:
    """Replace each ``${NAME}`` in ``text`` by its value; MissingVariable when one is not set."""
    if "${" not in text:
        return text
    env = os.environ if environ is None else environ

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if not env.get(name):
            raise MissingVariable(name)
        return env[name]

    return _VARIABLE.sub(value, text)


def load_policy(path: str | Path) -> Policy:
    """The policy in the file at ``path``; PolicyError when it cannot be read or is not valid."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except OSError as e:
        raise PolicyError(f"{path}:1: cannot be read: {e.strerror or e}") from None
    except UnicodeDecodeError as e:
        raise PolicyError(f"{path}:1: is not UTF-8 text ({e.reason} at byte {e.start})") from None
    return parse_policy(text, str(path))


def load_policy_files(path: str | Path) -> tuple[Policy, list[Path]]:
    """The policy at ``path``, and the files it was read from."""
    return load_policy(path), [Path(path)]


def parse_policy(text: str, source: str = "policy") -> Policy:
    """The policy in ``text``; ``source`` names the file in errors."""
    return _Reader(source).read(text)


def nearest(name: str, valid: Iterable[str]) -> str:
    """The end of an error sentence that names what was probably meant, or what may stand here."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, 1, 0.6)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; valid: {', '.join(names)}" if names else ""


class _Reader:
    def __init__(self, source: str) -> None:
        self.source = source
        self.lines: dict[tuple[str, ...], int] = {}

    def fail(self, path: tuple[str, ...], what: str) -> PolicyError:
        at = path
        while at and at not in self.lines:
            at = at[:-1]
        field = f"{'.'.join(path)}: " if path else ""
        return PolicyError(f"{self.source}:{self.lines.get(at, 1)}: {field}{what}")

    def read(self, text: str) -> Policy:
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as e:
            mark = getattr(e, "problem_mark", None)
            line = mark.line + 1 if mark else 1
            problem = getattr(e, "problem", None) or str(e).splitlines()[0]
            raise PolicyError(f"{self.source}:{line}: not valid YAML: {problem}") from None
        data = self.value(node, ()) if node is not None else {}
        if not isinstance(data, dict):
            raise self.fail((), f"must be a mapping, is {_kind(data)}")
        self.known_fields(data, Policy, ())
        providers = self.section(data, "providers", Provider)
        models = self.section(data, "models", Model)
        default = data.get("default")
        for name, provider in providers.items():
            self.check_provider(name, provider)
        for name, model in models.items():
            self.check_model(name, model, providers)
        if default is not None:
            self.check_default(default, models, providers)
        websocket = data.get("websocket", False)
        if not isinstance(websocket, bool):
            raise self.fail(("websocket",), f"must be true or false, is {_kind(websocket)}")
        try:
            return msgspec.convert(data, Policy)
        except msgspec.ValidationError as e:
            raise self.fail((), str(e)) from None

    def value(self, node: yaml.Node, path: tuple[str, ...]) -> Any:
        """Plain data of a YAML node, noting the line of every field on the way."""
        self.lines.setdefault(path, node.start_mark.line + 1)
        if len(path) > _DEEPEST:
            raise self.fail(path[:1], "is nested too deeply")
        if isinstance(node, yaml.MappingNode):
            out: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key = str(key_node.value)
                here = (*path, key)
                if key in out:
                    self.lines[here] = key_node.start_mark.line + 1
                    raise self.fail(here, "stands here twice")
                self.lines[here] = key_node.start_mark.line + 1
                out[key] = self.value(value_node, here)
            return out
        if isinstance(node, yaml.SequenceNode):
            return [self.value(n, (*path, str(i))) for i, n in enumerate(node.value)]
        loader = yaml.SafeLoader("")
        try:
            return loader.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError) as e:
            raise self.fail(path, f"not a value that can be read: {e}".splitlines()[0]) from None
        finally:
            loader.dispose()

    def known_fields(
        self,
        data: dict[str, Any],
        kind: type[msgspec.Struct],
        path: tuple[str, ...],
        hide: set[str] | None = None,
    ) -> None:
        valid = set(kind.__struct_fields__) - (hide or set())
        for name in data:
            if name not in valid:
                raise self.fail((*path, name), f"unknown field{nearest(name, valid)}")

    def section(self, data: dict[str, Any], name: str, kind: type[_S]) -> dict[str, _S]:
        entries = data.get(name)
        if entries is None:
            return {}
        if not isinstance(entries, dict):
            raise self.fail((name,), f"must map names to settings, is {_kind(entries)}")
        return {key: self.entry(value, kind, (name, key)) for key, value in entries.items()}

    def entry(self, value: Any, kind: type[_S], path: tuple[str, ...]) -> _S:
        if not isinstance(value, dict):
            raise self.fail(path, f"must be a mapping, is {_kind(value)}")
        self.known_fields(value, kind, path)
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as e:
            text = str(e)
            at = _FIELD.search(text)
            where = tuple(p for p in re.split(r"[.\[\]]+", at.group(1)) if p) if at else ()
            said = _FIELD.sub("", text)
            what = said[0].lower() + said[1:] + self.choices(kind, where)
            raise self.fail((*path, *where), what) from None

    def choices(self, kind: type[msgspec.Struct], where: tuple[str, ...]) -> str:
        for field in msgspec.structs.fields(kind):
            args = getattr(field.type, "__args__", ())
            if where[:1] == (field.name,) and args and all(isinstance(a, str) for a in args):
                return f"; valid: {', '.join(args)}"
        return ""

    def check_provider(self, name: str, provider: Provider) -> None:
        if name in BUILT_IN:
            raise self.fail(("providers", name), "is built in and cannot be defined; rename it")
        url = urlsplit(provider.base_url)
        try:
            usable = url.scheme in ("http", "https") and url.hostname and (url.port or 1)
        except ValueError:
            usable = False
        if not usable:
            raise self.fail(
                ("providers", name, "base_url"), "must be an http:// or https:// address"
            )
        if url.username or url.password:
            raise self.fail(
                ("providers", name, "base_url"), "must not hold a password; use key or headers"
            )

    def check_model(self, name: str, model: Model, providers: dict[str, Provider]) -> None:
        if model.provider not in providers and model.provider not in BUILT_IN:
            raise self.fail(
                ("models", name, "provider"),
                f"no provider {model.provider}{nearest(model.provider, [*providers, *BUILT_IN])}",
            )
        if model.context_window <= 0:
            raise self.fail(("models", name, "context_window"), "must be a number above 0 (tokens)")

    def check_default(
        self, default: Any, models: dict[str, Model], providers: dict[str, Provider]
    ) -> None:
        if not isinstance(default, str):
            raise self.fail(("default",), f"must be a model's name, is {_kind(default)}")
        head, colon, rest = default.partition(":")
        if default not in models and not (colon and rest and head in (*providers, *BUILT_IN)):
            raise self.fail(("default",), f"no model {default}{nearest(default, models)}")


def _kind(value: Any) -> str:
    kinds = {dict: "a mapping", list: "a list", str: "text", type(None): "empty"}
    return kinds.get(type(value), f"{value!r}")
