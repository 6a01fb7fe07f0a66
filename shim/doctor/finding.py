"""One finding of the doctor, and the two guards around it: files are read with a bound, and what
they hold is made fit for a terminal, without keys, before it is shown."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from ..record.findings import keys
from ..shown import plain

Level = Literal["ok", "warn", "fail"]
_LONGEST = 400
#: More of a text than this is never looked at.
_CONSIDERED = 4000
_LARGEST = 1 << 20
_SEQUENCE = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]")


class Finding(msgspec.Struct, frozen=True):
    """What was found, and what to do about it; ``fix`` is empty where all is well."""

    section: str
    level: Level
    text: str
    fix: str = ""


class Unread(Exception):
    """Why a file cannot be read, as a sentence's end."""


class Section:
    """The findings of one section, in order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.found: list[Finding] = []

    def ok(self, text: str) -> None:
        """All is well."""
        self.found.append(Finding(self.name, "ok", clean(text)))

    def warn(self, text: str, fix: str) -> None:
        """It works, but not as somebody may expect."""
        self.found.append(Finding(self.name, "warn", clean(text), clean(fix)))

    def fail(self, text: str, fix: str) -> None:
        """It does not work."""
        self.found.append(Finding(self.name, "fail", clean(text), clean(fix)))


def clean(text: str) -> str:
    """``text`` on one line, without control characters and keys, and not too long."""
    # A colour's letters would hide where a key begins.
    text = " ".join(_SEQUENCE.sub("�", text[:_CONSIDERED]).split())
    text = plain(text)
    for key in reversed(keys(text)):
        text = text[: key.start] + "[redacted]" + text[key.end :]
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def shown(url: str) -> str:
    """An address without what may be secret in it: user, path, query."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return "an address that is none"
    if not host:
        return "an address without a host"
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}" + (f":{port}" if port else "")


def read(path: Path, most: int = _LARGEST) -> bytes | None:
    """The bytes of a plain file; None when there is none. Unread when it is something else, too
    large, or not ours to read: a FIFO would keep us waiting for ever."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as e:
        raise Unread(f"cannot be read: {getattr(e, 'strerror', None) or e}") from None
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise Unread("is no plain file")
        if about.st_size > most:
            raise Unread(f"is {about.st_size >> 20} MB large, more than it can sensibly be")
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(most)
    except OSError as e:
        raise Unread(f"cannot be read: {e.strerror or e}") from None
    finally:
        os.close(fd)
