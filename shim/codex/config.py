"""The managed block in a user's own ``config.toml``: put in, changed, taken out again.

The block stands at the very top, in dotted keys, so that it changes the meaning of nothing below
it. A key of the user's that it takes the place of stays on its line as a comment: the file itself
remembers, and what is around may be edited meanwhile. ``strip(apply(text)) == text``, byte for
byte; `apply` tries that before anybody writes.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tomlkit

from .statements import Statement, statements

#: Id of the provider entry. Its `name` must not be "OpenAI": that turns on OpenAI's own compaction.
PROVIDER = "interpose"
_PROVIDERS = "model_providers"

_BEGIN, _END = "# >>> interpose", "# <<< interpose"
_NEW = f"{_BEGIN} (new file)"
_NOTE = (
    "# Sends Codex through Interpose; `interpose disable` takes it out. By hand: delete these",
    "# lines, and the words `#interpose# ` in front of others.",
)
#: In front of each line of what the block takes the place of.
_AWAY = "#interpose# "
#: Behind a provider of the user's that had to come along.
_COPY = "# a copy"
_BOM = "\ufeff"

#: Keys of the user's that would speak of another model than the one that answers.
_DISPLACED = (
    ("model",),
    ("model_provider",),
    ("model_catalog_json",),
    ("model_context_window",),
    ("model_auto_compact_token_limit",),
    (_PROVIDERS, PROVIDER),
)
_OURS = (("model",), ("model_provider",), (_PROVIDERS, PROVIDER))
_PLACE = re.compile(r"\(at line (\d+), column (\d+)\)")
_MARKED = re.compile(rf"^(?:{_BEGIN}|{_END})(?: |$|\r)", re.M)


class ConfigError(Exception):
    """Why a ``config.toml`` cannot be used or changed, in one line: file, line, column."""


@dataclass(frozen=True)
class Setting:
    """What the block says: the model, the chain's base URL, and the command that gives the key."""

    model: str
    base_url: str
    command: list[str]

    def values(self) -> dict[str, Any]:
        """The provider's table."""
        return {
            "name": "Interpose",
            "base_url": self.base_url,
            "wire_api": "responses",
            "auth": {
                "command": self.command[0],
                "args": self.command[1:],
                # Until the daemon is up, on a machine that is busy.
                "timeout_ms": 30_000,
                # Codex asks again after so long, also while it waits for a daemon that died.
                "refresh_interval_ms": 15_000,
            },
        }


def read(raw: bytes, name: str) -> dict[str, Any]:
    """The settings in a file's bytes. ConfigError names ``name``, line and column."""
    return _parse(_decode(raw, name)[1], name)


def enabled(raw: bytes) -> bool:
    """Whether the block, or what is left of it, is in there."""
    return bool(_MARKED.search(raw.decode("utf-8", "replace")))


def apply(raw: bytes, setting: Setting, name: str, new: bool = False) -> bytes:
    """The file with the block in it, at its newest; ``new`` says that there was no file.

    ConfigError when it is no TOML, or cannot be changed so that `strip` would undo it.
    """
    clean = strip(raw, name)
    new = new or raw.decode("utf-8", "replace").lstrip(_BOM).startswith(_NEW)
    bom, text = _decode(clean, name)
    had = _parse(text, name)
    if not isinstance(had.get(_PROVIDERS, {}), dict):
        raise ConfigError(f"{name}: {_PROVIDERS} is not a table; nothing was written")
    away, copies = _displaced(text)
    ending = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
    block = _block(setting, copies, new).replace("\n", ending)
    made = bom + block + _comment_out(text, away)
    done = made.encode()
    _check(done, clean, had, setting, name)
    return done


def strip(raw: bytes, name: str) -> bytes:
    """The file without the block, and with what it took the place of.

    A displaced key that the user has set anew meanwhile stays a comment.
    """
    bom, text = _decode(raw, name)
    _parse(text, name)
    if not _MARKED.search(text):
        return raw
    without = _cut(text, _block_lines(text))
    restored = re.sub(rf"^{re.escape(_AWAY)}", "", without, flags=re.M)
    try:
        tomllib.loads(restored)
    except tomllib.TOMLDecodeError:
        restored = _restore_what_fits(without)
    return (bom + restored).encode()


def is_new(raw: bytes) -> bool:
    """Whether there was no file before the block came."""
    return raw.decode("utf-8", "replace").lstrip(_BOM).startswith(_NEW)


def _displaced(text: str) -> tuple[list[Statement], dict[str, Any]]:
    """What the block takes the place of, and the providers that have to be copied into it.

    The name `model_providers` itself can be defined once only: where the user has it as a table or
    in one line, its entries come along.
    """
    away: list[Statement] = []
    copies: dict[str, Any] = {}
    for found in statements(text):
        defines = (_PROVIDERS,) in (found.path, found.table)
        if defines or any(found.path[: len(path)] == path for path in _DISPLACED):
            away.append(found)
    owned = [s for s in away if s.path[:1] == (_PROVIDERS,) and s.table in ((), (_PROVIDERS,))]
    if any(s.path == (_PROVIDERS,) for s in owned):
        lines = "".join(text[s.start : s.end] + "\n" for s in owned)
        copies = tomllib.loads(lines).get(_PROVIDERS, {})
        copies.pop(PROVIDER, None)
    return away, copies


def _block(setting: Setting, copies: Mapping[str, Any], new: bool) -> str:
    ours: dict[str, Any] = {"model": setting.model, "model_provider": PROVIDER}
    ours[_PROVIDERS] = {PROVIDER: setting.values()}
    lines = [_NEW if new else _BEGIN, *_NOTE, *_lines(ours)]
    lines += [f"{line} {_COPY}" for line in _lines({_PROVIDERS: copies} if copies else {})]
    return "\n".join([*lines, _END, ""])


def _lines(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """``values`` in dotted keys, a line each."""
    for name, value in values.items():
        here = (*path, name)
        if isinstance(value, dict) and value:
            yield from _lines(value, here)
        else:
            yield f"{tomlkit.key(list(here)).as_string()} = {_inline(value).as_string()}"


def _inline(value: Any) -> tomlkit.items.Item:
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        for name, inner in value.items():
            table.append(tomlkit.key([name]), _inline(inner))
        return table
    if isinstance(value, list):
        array = tomlkit.array()
        array.extend(_inline(inner) for inner in value)
        return array
    return tomlkit.item(value)


def _block_lines(text: str) -> list[tuple[int, int]]:
    """The spans that are ours. Lines of others between the marks, such as a key that Codex wrote
    there, are not."""
    found = list(statements(text))
    marks = [
        line
        for line in re.finditer(r"^#[^\n]*(?:\n|\Z)", text, re.M)
        if line[0].rstrip("\r\n") in (_BEGIN, _NEW, _END, *_NOTE)
        and not any(s.start < line.start() < s.end for s in found)
    ]
    first = [m.start() for m in marks if m[0].startswith(_BEGIN)]
    last = [m.start() for m in marks if m[0].startswith(_END)]
    begin, end = (first[0] if first else 0), (last[-1] if last else len(text))
    spans = [mark.span() for mark in marks]
    for one in found:
        if one.header or one.table or not begin <= one.start < end:
            continue
        ours = any(one.path[: len(path)] == path for path in _OURS)
        copied = text[one.start : one.end].rstrip().endswith(_COPY)
        if ours or (copied and one.path[0] == _PROVIDERS):
            spans.append((one.start, one.end))
    return sorted(spans)


def _restore_what_fits(text: str) -> str:
    """``text`` with the displaced statements back whose names nobody has taken meanwhile."""
    pieces = re.split(rf"((?:^{re.escape(_AWAY)}[^\n]*(?:\n|\Z))+)", text, flags=re.M)
    for at in range(1, len(pieces), 2):
        before = pieces[at]
        for one in _groups(before):
            pieces[at] = pieces[at].replace(one, re.sub(rf"^{_AWAY}", "", one, flags=re.M), 1)
            try:
                tomllib.loads("".join(pieces))
            except tomllib.TOMLDecodeError:
                pieces[at] = before
            before = pieces[at]
    return "".join(pieces)


def _groups(commented: str) -> list[str]:
    """The statements of a commented-out stretch, each still commented out."""
    plain = re.sub(rf"^{_AWAY}", "", commented, flags=re.M)
    try:
        found = list(statements(plain))
    except (tomllib.TOMLDecodeError, IndexError):
        return [commented]
    if any(s.header for s in found):
        return [commented]
    return [_prefixed(plain[s.start : s.end]) for s in found]


def _comment_out(text: str, away: list[Statement]) -> str:
    made, at = [], 0
    for found in away:
        made += [text[at : found.start], _prefixed(text[found.start : found.end])]
        at = found.end
    return "".join([*made, text[at:]])


def _prefixed(lines: str) -> str:
    return re.sub(r"^(?=.|\n)", _AWAY, lines, flags=re.M)


def _cut(text: str, spans: list[tuple[int, int]]) -> str:
    made, at = [], 0
    for start, end in spans:
        made.append(text[at:start])
        at = max(at, end)
    return "".join([*made, text[at:]])


def _check(done: bytes, clean: bytes, had: dict[str, Any], setting: Setting, name: str) -> None:
    """Nothing is written that does not say what it should, or that `strip` would not undo."""
    try:
        now = read(done, name)
        providers = {**had.get(_PROVIDERS, {}), PROVIDER: setting.values()}
        gone = {path[0] for path in _DISPLACED if len(path) == 1}
        meant = {key: value for key, value in had.items() if key not in gone}
        meant |= {"model": setting.model, "model_provider": PROVIDER, _PROVIDERS: providers}
        fits = now == meant and strip(done, name) == clean
    except (ConfigError, TypeError):
        fits = False
    if not fits:
        raise ConfigError(
            f"{name} cannot be changed so that it can be changed back; nothing was written"
            f" (what is unusual in it about {_PROVIDERS}, or has {_AWAY.strip()} in a text?)"
        )


def _decode(raw: bytes, name: str) -> tuple[str, str]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as e:
        before = raw[: e.start]
        line, column = before.count(b"\n") + 1, e.start - (before.rfind(b"\n") + 1) + 1
        raise ConfigError(f"{name}:{line}:{column}: not UTF-8; save the file as UTF-8") from None
    return (_BOM, text[1:]) if text.startswith(_BOM) else ("", text)


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        said = str(e)
        place = _PLACE.search(said)
        if place:
            line, column = place[1], place[2]
        else:
            line, column = str(text.count("\n") + 1), str(len(text) - text.rfind("\n"))
        what = said.partition(" (at ")[0]
        raise ConfigError(
            f"{name}:{line}:{column}: {what}; correct it and try again, nothing was changed"
        ) from None
