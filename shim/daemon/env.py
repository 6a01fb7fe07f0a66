"""The daemon's file ``env``: variables for a daemon that starts where the user's shell is not.

Lines ``NAME=value`` are the user's own. `interpose enable` keeps the key of the model it enables in
a block there, so that a daemon which Codex starts later can answer, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from .files import DaemonError, write

_BEGIN = "# >>> interpose enable (`interpose disable` takes this out)"
_END = "# <<< interpose enable"


def read(path: Path) -> dict[str, str]:
    """The variables in the file at ``path``; none without one. DaemonError names a bad line."""
    return dict(_variables(_lines(path), path))


def with_file(path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that a daemon started from ``environ`` has. DaemonError as above."""
    return {**read(path), **{name: value for name, value in environ.items() if value}}


def keep(path: Path, values: Mapping[str, str]) -> list[str]:
    """Have these variables in the block; the names that were not there, or with another value.

    Lines of the user's own stay and go before. DaemonError when the file cannot be written.
    """
    lines = _lines(path)
    had = dict(_variables(lines, path))
    own = dict(_variables(_outside(lines), path))
    fresh = {
        name: value
        for name, value in values.items()
        # What would not come out of a line as it went in, such as a line end, is no key either.
        if name not in own and had.get(name) != value and value.isprintable()
        and value == _unquoted(value)
    }  # fmt: skip
    if fresh:
        block = {**{name: value for name, value in had.items() if name not in own}, **fresh}
        told = [f"{name}={value}" for name, value in block.items()]
        _replace(path, [*_outside(lines), _BEGIN, *told, _END])
    return list(fresh)


def drop(path: Path) -> bool:
    """Take the block out again; whether there was one."""
    lines = _lines(path)
    left = _outside(lines)
    if left == lines:
        return False
    _replace(path, left)
    return True


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as e:
        raise DaemonError(f"{path} cannot be read: {e}") from None


def _variables(lines: list[str], path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines, 1):
        name, sign, value = line.strip().partition("=")
        if not name or name.startswith("#"):
            continue
        if not sign or not name.isidentifier():
            raise DaemonError(f"{path}:{number}: this is no line NAME=value")
        yield name, _unquoted(value)


def _unquoted(value: str) -> str:
    return value.strip().strip("'\"")


def _outside(lines: list[str]) -> list[str]:
    """The lines that are the user's own."""
    if _BEGIN not in lines:
        return lines
    begin = lines.index(_BEGIN)
    # Without its end, nobody knows which lines are whose.
    end = lines.index(_END, begin) if _END in lines[begin:] else begin
    return lines[:begin] + lines[end + 1 :]


def _replace(path: Path, lines: list[str]) -> None:
    # A link of the user's stays one.
    real = Path(os.path.realpath(path))
    try:
        if lines:
            real.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write(real, "\n".join(lines) + "\n")
        else:
            real.unlink(missing_ok=True)
    except OSError as e:
        raise DaemonError(f"{path} cannot be written: {e.strerror or e}") from None
