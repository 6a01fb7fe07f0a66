"""The keys of clients, and whose one is: from an option, else a file, else the environment.

The file is read again while the chain runs. One that cannot be read leaves the last keys in force,
and `error` says why; an empty one lets nobody in.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

logger = logging.getLogger(__name__)

#: The variables that name keys, and a file of keys.
VARIABLE, FILE = "INTERPOSE_CLIENT_KEYS", "INTERPOSE_CLIENT_KEYS_FILE"
#: Bytes of a file of keys; what is longer is something else.
_LONGEST = 1024 * 1024


class ClientKeys:
    """The keys in force. The option goes before the file, the file before the variable."""

    def __init__(self) -> None:
        self._option: tuple[str, ...] = ()
        self._variable: tuple[str, ...] = ()
        self._file: Path | None = None
        self._read: tuple[str, ...] = ()
        #: Why the file's latest state is not in force.
        self.error: str | None = None

    def start(self, env: Mapping[str, str]) -> None:
        """Take over what the environment names. ValueError when its file cannot be read."""
        named = env.get(FILE)
        self._file = Path(named) if named else None
        self._read = read(self._file) if self._file else ()
        self._variable = tuple(env.get(VARIABLE, "").split())

    def use(self, option: Sequence[str]) -> None:
        """Take over the keys of the option; none leaves those of the environment."""
        self._option = tuple(option)

    def look(self) -> None:
        """Read the file again."""
        if self._file is None:
            return
        try:
            keys = read(self._file)
        except ValueError as e:
            if self.error != str(e):
                logger.warning("the client keys stay as they were: %s", e)
            self.error = str(e)
            return
        if keys != self._read or self.error:
            logger.info("client keys read again: %s", self._file)
        self._read, self.error = keys, None

    @property
    def valid(self) -> tuple[str, ...] | None:
        """The keys of which a client must send one; none of them: nobody gets in. None: nobody
        needs a key."""
        if self._option:
            return self._option
        if self._file:
            return self._read
        return self._variable or None


def read(path: Path) -> tuple[str, ...]:
    """The keys in the file at ``path``, with white space between. ValueError when it cannot be
    read."""
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)
        if len(data) > _LONGEST:
            raise ValueError(f"{FILE}: {path} is longer than {_LONGEST} bytes, so no file of keys")
        return tuple(data.decode("utf-8-sig").split())
    except (OSError, UnicodeDecodeError) as e:
        why = getattr(e, "strerror", None) or "it is no text"
        raise ValueError(f"{FILE}: {path} cannot be read: {why}") from None


def known_keys(env: Mapping[str, str]) -> list[str]:
    """The keys of clients that the environment names. ValueError as of `read`."""
    keys = ClientKeys()
    keys.start(env)
    return list(keys.valid or ())


def owner_of(key: str) -> str:
    """A digest that names whoever sends ``key``, and tells nobody what it is."""
    return blake2b(key.encode(), digest_size=8).hexdigest()


def matching(given: str, keys: Iterable[str]) -> bool:
    """Whether ``given`` is one of ``keys``; how long that takes tells nothing of them."""
    raw = given.encode("utf-8", "replace")
    # Each is compared, also behind the one that matches.
    return sum(hmac.compare_digest(raw, key.encode()) for key in keys) > 0
