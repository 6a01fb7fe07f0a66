"""Lines of the log as mitmproxy writes them, in a terminal, a file and mitmweb: what others say in
one can neither command a terminal nor begin another line.
"""

from __future__ import annotations

import copy
import logging
from typing import Any

from mitmproxy.log import MitmFormatter

from shim.shown import lines

_inside: Any = MitmFormatter
_format: Any = getattr(MitmFormatter, "without_interpose", MitmFormatter.format)


def _message(self: MitmFormatter, record: logging.LogRecord) -> str:
    shown = copy.copy(record)
    shown.msg, shown.args = lines(record.getMessage()), None
    return str(_format(self, shown))


def _exception(self: MitmFormatter, info: Any) -> str:
    return lines(logging.Formatter.formatException(self, info))


def install() -> None:
    """Have it in mitmproxy, whose handlers hold their formatters already."""
    _inside.without_interpose = _format
    _inside.format, _inside.formatException = _message, _exception
