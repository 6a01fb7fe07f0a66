"""Machines that stand in a text by name or public address, without a URL around them.

Names in programs look alike (``logger.info``, ``threading.local``): an ending that is no word of
theirs is enough, any other needs more that only hosts have.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
#: Endings of nothing but hosts.
_SURE = (
    "com|org|edu|gov|mil|eu|ac|ae|ar|au|br|ca|ch|cl|cn|cz|de|dk|ee|es|fi|fr|gr|hk|hr|hu|ie|il|ir"
    "|jp|kr|lu|lv|mx|my|nl|nz|ph|ro|ru|se|sg|si|sk|th|tr|tw|ua|uk|vn|za|localdomain"
)
#: Endings of hosts, of files and of names in programs: hosts have digits, hyphens or more labels.
_MAYBE = (
    "net|internal|intranet|local|lan|corp|home|io|dev|app|ai|cloud|info|biz|co|me|us|tech|site"
    "|online|xyz|in|it|at|be|bg|is|lt|no|pe|pt|rs|run|store|arpa|cluster"
)
#: Before it stands no part of a word or a number, unless it ends an escape or begins a share.
_LEAD = r"(?:(?<=\\[nrtbf])|(?<=\\\\)|(?<![%s]))"
_NAME = re.compile(
    _LEAD % r"\w.$\\%~-" + rf"((?:{_LABEL}\.)+(?:{_SURE}|{_MAYBE}))(?![\w(\[-]|\.\w|[ ]?=[^=]|::)",
)
_IS_SURE = re.compile(rf"(?:{_SURE})")
_HAS_MORE = re.compile(r"[0-9-]")
#: What programs begin a chain of names with.
_PROGRAM = re.compile(
    "self|this|cls|super|app|args|config|ctx|env|logger|logging|log|module|np|os|path|process|props"
    "|request|req|res|response|settings|state|sys|threading|torch|window|document|options|opts"
)
_V4 = re.compile(_LEAD % r"\w.=/+-" + r"(\d{1,3}(?:\.\d{1,3}){3})(?![\w-]|\.\w)")
_V6 = re.compile(_LEAD % r"\w:." + r"([23][0-9a-fA-F]{3}:[0-9a-fA-F:]{2,34}[0-9a-fA-F:])(?![\w:])")
#: Numbers of versions and of objects look like addresses: those are small.
_SMALL = re.compile(r"(?:[12]?\d\.){3}[12]?\d")
_VERSION = re.compile(r"(?:version|release|v|ver|build|upgrade[sd]?)[ :\"'=]{0,3}$", re.I)
#: Everybody asks these for names.
_RESOLVERS = frozenset({"1.1.1.1", "1.0.0.1", "8.8.8.8", "8.8.4.4", "9.9.9.9"})


def names(text: str) -> Iterator[re.Match[str]]:
    """Where hosts stand by name; group 1."""
    for match in _NAME.finditer(text):
        first, *_, ending = labels = match[1].split(".")
        has_more = _HAS_MORE.search(match[1]) or (len(labels) > 2 and not _PROGRAM.fullmatch(first))
        if has_more or _IS_SURE.fullmatch(ending):
            yield match


def addresses(text: str) -> Iterator[re.Match[str]]:
    """Where public addresses stand; group 1."""
    for match in _V4.finditer(text):
        if match[1] not in _RESOLVERS and _is_public(match[1]):
            counts = match[1].endswith(".0") or _SMALL.fullmatch(match[1])
            if not counts and not _VERSION.search(text[max(0, match.start() - 16) : match.start()]):
                yield match
    for match in _V6.finditer(text):
        if _is_public(match[1]):
            yield match


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False
