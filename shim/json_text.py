"""JSON as clients really send it: what msgspec reads, and what it cannot, told by place.

Strategy: msgspec reads what it can. Only where it fails is the text looked at again: half a
surrogate pair (``\\ud83d`` alone, which the grammar allows) is read as a private character and
written back as it came; all else is a `WireError` that names the path of what is wrong.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from .shown import short

_any = msgspec.json.Decoder().decode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_string = msgspec.json.Decoder(str).decode
_encode = msgspec.json.encode
_encoder = msgspec.json.Encoder()
#: What is encoded only to be measured; a larger one is let go of.
_scratch = threading.local()
_MOST_SCRATCH = 4 << 20

#: Half a pair is one of these characters while it is read: its 11 bits, and which of its hex digits
#: are capitals. A character among them that was there already stands behind `_GUARD`.
_FIRST, _GUARD = 0x108000, 0x107FFF
_GUARD_BYTES = chr(_GUARD).encode()
_HALF = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_READ = re.compile(
    rb"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|\\u([dD][89a-fA-F][0-9a-fA-F]{2})|\\.|(\xf4[\x87-\x8f][\x80-\xbf]{2})",
    re.DOTALL,
)
_WRITE = re.compile(
    rb"\xf4\x87\xbf\xbf(\xf4[\x87-\x8f][\x80-\xbf]{2}|\\u[dD][bB])|(\xf4[\x88-\x8f][\x80-\xbf]{2})"
)
_CAPITAL = re.compile(rb"[A-F]")
#: Strings, whole or broken off, and what divides them; numbers where they matter.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[{}\[\],]', re.DOTALL)
_NUMBER = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],]|-?\d[\d.eE+-]*', re.DOTALL)
_KEYED = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"(\s*+:)?', re.DOTALL)
_WORD = re.compile(r"[A-Za-z_$][\w$-]{0,63}", re.ASCII)
_AT = re.compile(r"^(.*) - at `(?:key` in `)?\$(.*)`$", re.DOTALL)
_BYTE = re.compile(r" \(byte (\d+)\)$")
#: Deeper nesting is told by its beginning; further into a body no place is looked for.
_DEEP, _FAR, _LONGEST_PATH = 200, 8 << 20, 200
#: The most digits that an integer may have (msgspec's bound, and Python's).
_DIGITS = 4300


class WireError(Exception):
    """A request that cannot be understood: ``status`` for the client, a sentence, and the field."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param


def load(raw: msgspec.Raw | bytes, place: str = "", decode: Callable[[Any], Any] = _any) -> Any:
    """What ``decode`` reads in ``raw``; WireError with the place below ``place`` when it cannot."""
    try:
        return decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        error: Exception = e
    data = bytes(raw)
    text = protect_surrogates(data)
    if text is not data:
        try:
            return decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            error = e
    raise refusal(text, error, place) from None


def split(raw: msgspec.Raw | bytes, place: str = "") -> list[msgspec.Raw]:
    """The entries of an array, as they came; WireError where it is none."""
    try:
        return _array(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        entries: list[msgspec.Raw] = load(raw, place, _array)
        return [msgspec.Raw(restore_surrogates(bytes(entry))) for entry in entries]


def members(raw: msgspec.Raw | bytes, place: str = "") -> dict[str, msgspec.Raw]:
    """The fields of an object, as they came; WireError where it is none."""
    try:
        return _object(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        located: dict[str, msgspec.Raw] = load(raw, place, _object)
        return {k: msgspec.Raw(restore_surrogates(bytes(v))) for k, v in located.items()}


def protect_surrogates(data: bytes, *, always: bool = False) -> bytes:
    """``data`` with a private character for each half of a surrogate pair; the same object where
    there is none. ``always``: such characters are guarded also where there is none, since it is a
    part of what has one."""
    if not always and not _HALF.search(data):
        return data
    count = 0

    def read(match: re.Match[bytes]) -> bytes:
        nonlocal count
        high, low, half, rare = match.groups()
        if half:
            count += 1
            capitals = sum(1 << n for n, c in enumerate(half) if _CAPITAL.match(bytes((c,))))
            return chr(_FIRST + (capitals << 11) + int(half, 16) - 0xD800).encode()
        if high:
            code = 0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00
            return _GUARD_BYTES + match[0] if code >= _GUARD else match[0]
        return _GUARD_BYTES + rare if rare and rare >= _GUARD_BYTES else match[0]

    result = _READ.sub(read, data)
    return result if count or always else data


def has_lone_surrogates(data: bytes | msgspec.Raw) -> bool:
    """Whether half a surrogate pair is in ``data``."""
    text = bytes(data)
    return protect_surrogates(text) is not text


def restore_surrogates(data: bytes) -> bytes:
    """What `protect_surrogates` has changed, as it came."""
    return _WRITE.sub(_write, data) if b"\xf4" in data else data


def _write(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return match[1]
    number = ord(match[2].decode()) - _FIRST
    digits = f"{(number & 0x7FF) + 0xD800:x}"
    return b"\\u" + "".join(
        c.upper() if number >> 11 + n & 1 else c for n, c in enumerate(digits)
    ).encode("ascii")


def is_object(text: str) -> bool:
    """Whether ``text`` is a JSON object, halves of surrogate pairs in it or not."""
    try:
        load(text.encode("utf-8", "surrogatepass"), "", _object)
    except WireError:
        return False
    return True


def has_duplicate_keys(raw: bytes, value: Any) -> bool:
    """Whether an object in ``raw`` says a key twice; ``value`` is what was read there."""
    try:
        # As most programs write it, it is as long as what was read.
        if _length(value) == len(raw):
            return False
    except RecursionError:
        pass
    count = _keys(value)
    # In a string the quote before a colon has a backslash; with blanks there each is looked at.
    spaced = b'" ' in raw or b'"\n' in raw or b'"\t' in raw or b'"\r' in raw
    if not spaced and raw.count(b'":') - raw.count(b'\\":') == count:
        return False
    return sum(1 for match in _KEYED.finditer(raw) if match[1]) != count


def _length(value: Any) -> int:
    """How long ``value`` is as JSON: of its bytes nothing is kept."""
    buffer = getattr(_scratch, "buffer", None)
    if buffer is None or len(buffer) > _MOST_SCRATCH:
        buffer = _scratch.buffer = bytearray()
    _encoder.encode_into(value, buffer)
    return len(buffer)


def _keys(value: Any) -> int:
    count, todo = 0, [value]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            count += len(value)
            todo += [v for v in value.values() if isinstance(v, dict | list)]
        elif isinstance(value, list):
            todo += [v for v in value if isinstance(v, dict | list)]
    return count


def without_duplicate_keys(raw: msgspec.Raw, place: str = "") -> msgspec.Raw:
    """``raw`` with each key of an object once: the last counts, as for most readers."""
    data = bytes(raw)
    text = protect_surrogates(data)
    try:
        result = _single(msgspec.Raw(text))
    except RecursionError as e:
        raise refusal(data, e, place) from None
    return result if text is data else msgspec.Raw(restore_surrogates(bytes(result)))


def _single(raw: msgspec.Raw) -> msgspec.Raw:
    first = bytes(memoryview(raw)[:1])
    if first == b"{":
        return msgspec.Raw(_encode({k: _single(v) for k, v in _object(raw).items()}))
    if first == b"[":
        return msgspec.Raw(b"[%b]" % b",".join([_single(v) for v in _array(raw)]))
    return raw


def refusal(data: bytes, error: Exception, place: str = "") -> WireError:
    """Why ``data`` could not be read, with its place below ``place``."""
    located = _AT.match(str(error))
    what, path = located.groups() if located else (str(error), "")
    if isinstance(error, RecursionError):
        what, path = "nested too deeply", _deepest(data)
    elif isinstance(error, msgspec.ValidationError):
        if "out of range" in what:
            what, path = "a number that is too large", _too_large(data)
        path = path.partition("[...]")[0]
    elif isinstance(error, UnicodeDecodeError):
        at = _not_utf8(data)
        what, path = f"not valid UTF-8 at byte {at}", path_at(data, at)
    else:
        at = int(byte[1]) if (byte := _BYTE.search(what)) else len(data)
        path = path_at(data, at)
    place = join_place(place, path)
    message = f"{place}: {what}" if place else what
    return WireError(message, param=place or None)


def join_place(place: str, path: str) -> str:
    """The place ``path`` below ``place``."""
    return f"{place}{path}" if place else path.removeprefix(".")


def format_path(path: tuple[Any, ...]) -> str:
    """Keys and indices as the place they lead to: ``.content[0].text``."""
    steps = (f"[{step}]" if isinstance(step, int) else _key(str(step)) for step in path)
    return _shortened("".join(steps))


def path_at(data: bytes, offset: int) -> str:
    """The place of the byte ``offset``, as far as it can be told."""
    if offset > _FAR:
        return ""
    path: tuple[Any, ...] = ()
    for _, behind in _walk(_TOKEN, data, offset):
        path = behind
    return format_path(path)


def _deepest(data: bytes) -> str:
    """The beginning of the first place that is nested deeply."""
    for _, path in _walk(_TOKEN, data, len(data)):
        if len(path) > _DEEP:
            return format_path(path[:6])
    return ""


def _too_large(data: bytes) -> str:
    for match, path in _walk(_NUMBER, data, len(data)):
        number = match[0]
        if number[0] in b"-0123456789" and (
            len(number) > _DIGITS or (not number.lstrip(b"-").isdigit() and _is_infinite(number))
        ):
            return format_path(path)
    return ""


def _is_infinite(number: bytes) -> bool:
    try:
        return float(number) in (float("inf"), float("-inf"))
    except ValueError:
        return False


def _not_utf8(data: bytes) -> int:
    try:
        data.decode()
    except UnicodeDecodeError as e:
        return e.start
    return len(data)


def _walk(
    pattern: re.Pattern[bytes], data: bytes, end: int
) -> Iterator[tuple[re.Match[bytes], tuple[Any, ...]]]:
    """The tokens of ``data`` up to ``end``, each with the place behind it."""
    # Per object or array that is open: its key or index, and whether a key comes next.
    steps: list[Any] = []
    named: list[bool | None] = []
    for match in pattern.finditer(data, 0, end):
        first = match[0][:1]
        if first == b'"':
            if named and named[-1] is False:
                steps[-1] = _read_key(match[0])
                named[-1] = True
        elif first == b"{":
            steps.append(None)
            named.append(False)
        elif first == b"[":
            steps.append(0)
            named.append(None)
        elif first == b"," and named:
            if named[-1] is None:
                steps[-1] += 1
            else:
                named[-1] = False
        elif first in b"}]" and named:
            steps.pop()
            named.pop()
        yield match, tuple(step for step in steps if step is not None)


def _read_key(token: bytes) -> str:
    try:
        return str(_string(token))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return token.strip(b'"').decode("utf-8", "replace")


def _key(key: str) -> str:
    if _WORD.fullmatch(key):
        return f".{key}"
    return f"[{_encode(short(key, 40)).decode()}]"


def _shortened(path: str) -> str:
    return short(path, _LONGEST_PATH)
