"""How turns look in mitmweb, mitmproxy and mitmdump: content views, markers, readable comments.

Part of the chain; alone, for looking at recordings: ``mitmweb -n -r FILE -s addons/views.py``.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mitmproxy import contentviews, ctx, http
from mitmproxy.contentviews import Contentview, Metadata
from mitmproxy.net import encoding

from addons.flowfile import body_of, row_of, set_row
from shim.encodings import RECORDED, EncodingError, decode
from shim.record import show, summary
from shim.record.differ import differences
from shim.record.pieces import request_pieces
from shim.shown import line, short
from shim.wire.paths import protocol_of

#: What mitmweb's list shows. Beside a path, which takes all the room, no comment can be read.
_COLUMNS = ["comment", "time"]


class _View(Contentview):
    """What the views have in common: whose message it is."""

    def render_priority(self, data: bytes, metadata: Metadata) -> float:
        return -1

    def _path(self, metadata: Metadata) -> str:
        flow = metadata.flow
        return flow.request.path if isinstance(flow, http.HTTPFlow) else ""


class Turn(_View):
    name = "Turn"

    def render_priority(self, data: bytes, metadata: Metadata) -> float:
        return 3 if data and protocol_of(self._path(metadata)) else -1

    def prettify(self, data: bytes, metadata: Metadata) -> str:
        answer = isinstance(metadata.http_message, http.Response)
        row = row_of(metadata.flow)
        return _spaced(show.turn(data, self._path(metadata), row, answer=answer))


class Tools(_View):
    name = "Turn-Tools"

    def prettify(self, data: bytes, metadata: Metadata) -> str:
        flow = metadata.flow
        if isinstance(metadata.http_message, http.Response) and isinstance(flow, http.HTTPFlow):
            data = body_of(flow.request)
        return _spaced(show.tools(data, self._path(metadata)))


class Timeline(_View):
    name = "Turn-Timeline"

    def prettify(self, data: bytes, metadata: Metadata) -> str:
        flow = metadata.flow
        if isinstance(metadata.http_message, http.Request) and isinstance(flow, http.HTTPFlow):
            data = body_of(flow.response) if flow.response else b""
        return _spaced(show.timeline(data, row_of(flow)))


class Exchange(_View):
    name = "Turn-Exchange"

    def prettify(self, data: bytes, metadata: Metadata) -> str:
        said = show.exchange(row_of(metadata.flow))
        legs = _legs(metadata.flow)
        if len(legs) < 2:
            return _spaced(said)
        client, upstream = (request_pieces(body_of(leg.request), leg.request.path) for leg in legs)
        found = differences(_told(client), _told(upstream), "the client sent", "went upstream")
        changed = "\n".join(f"  {line}" for line in found) or "  (nothing)"
        return _spaced(f"{said}\nwhat changed on the way upstream\n{changed}\n")


def _spaced(text: str) -> str:
    """mitmweb gives an empty line no height."""
    return text.replace("\n\n", "\n \n")


def _told(pieces: list[Any]) -> list[Any]:
    return [piece for piece in pieces if piece.kind not in ("setting", "tool")]


def _legs(flow: Any) -> list[http.HTTPFlow]:
    """The client leg and the upstream leg of the exchange that ``flow`` belongs to, if known."""
    id = row_of(flow).get("exchange")
    view = ctx.master.addons.get("view")
    if not (id and view):
        return []
    legs = {row.get("leg"): f for f, row in _rows(view) if row.get("exchange") == id}
    return [legs[name] for name in ("client", "upstream") if name in legs]


def _rows(view: Any) -> Iterator[tuple[http.HTTPFlow, dict[str, Any]]]:
    for flow in view:
        if isinstance(flow, http.HTTPFlow) and (row := row_of(flow)):
            yield flow, row


def _unpacked(data: Any, name: str, errors: str = "strict") -> Any:
    """What mitmproxy makes of an encoded body that is looked at: it would unpack without end, and
    any codec that Python knows. ValueError as there."""
    name = name.lower()
    if not isinstance(data, bytes) or name in ("none", "identity"):
        return _decode(data, name, errors)
    if name in encoding.custom_decode:
        try:
            return decode(data, name.removesuffix("raw"), RECORDED)
        except EncodingError as e:
            raise ValueError(str(e)) from None
    try:
        is_text = codecs.lookup(name)._is_text_encoding
    except LookupError:
        is_text = False
    if not is_text:
        raise ValueError(f"no encoding of bodies: {short(name, 40)!r}")
    return _decode(data, name, errors)


_decode: Any = encoding.decode


class Views:
    """The views, and a comment for what has none; a viewer of the runner's, or an addon alone."""

    def __init__(self) -> None:
        self._in_list = False

    def load(self, loader) -> None:  # type: ignore[no-untyped-def]
        inside: Any = encoding
        inside.decode = _unpacked
        for view in (Turn(), Tools(), Timeline(), Exchange()):
            contentviews.add(view)
        columns = "web_columns"
        if columns in ctx.options and ctx.options.default(columns) == getattr(ctx.options, columns):
            ctx.options.update(web_columns=_COLUMNS)
            self._in_list = True

    def request(self, flow: http.HTTPFlow) -> None:
        """A recorded flow that is read: what an older recorder wrote is put as it is today."""
        row = row_of(flow)
        if row and summary.KEY not in flow.metadata:
            set_row(flow, row)
            flow.marked = flow.marked or summary.mark(row)

    def viewed(self, flow: http.HTTPFlow, access: object) -> None:
        """A flow that has ended, or was read from a file."""
        self.request(flow)
        if not flow.comment and self._in_list and flow.response:
            flow.comment = line(f"{flow.request.method} {flow.request.path.partition('?')[0]}")


addons = [Views()]
