"""Reading recorded flow files: exchanges, each with its legs and the row that tells of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from mitmproxy import exceptions, http
from mitmproxy.io import FlowReader

from shim.record.files import PACKED, opened, recordings, whole
from shim.record.replay import Message, Recorded

logger = logging.getLogger(__name__)


class Unreadable(Exception):
    """A file that holds no recorded exchanges; the sentence names it."""


def read(path: Path) -> Iterator[Recorded]:
    """The exchanges recorded in the flow file at ``path``, packed or not, in order."""
    try:
        yield from recorded_of(_flows(path))
    except OSError as e:
        raise Unreadable(f"{path}: {e.strerror or e}") from None
    except exceptions.FlowReadException as e:
        raise Unreadable(f"{path}: not a flow file: {e}") from None


def _flows(path: Path) -> Iterator[http.HTTPFlow]:
    with opened(path) as file:
        try:
            for flow in FlowReader(file).stream():
                if isinstance(flow, http.HTTPFlow):
                    yield flow
        except exceptions.FlowReadException:
            # A machine that lost its power, or a flow that is just being written.
            if path.suffix == PACKED or not (good := whole(path)) or file.tell() < good:
                raise
            logger.warning("%s: ends in the middle of a flow; what stands before is read", path)


def recorded_of(flows: Iterable[http.HTTPFlow]) -> Iterator[Recorded]:
    """The exchanges among ``flows``: legs that the chain recorded, put together."""
    legs: dict[str, dict[str, http.HTTPFlow]] = {}
    rows: dict[str, dict[str, object]] = {}
    for flow in flows:
        if row := _row(flow):
            legs.setdefault(str(row["exchange"]), {})[str(row["leg"])] = flow
            rows[str(row["exchange"])] = row
    for exchange, pair in legs.items():
        if "client" in pair:
            yield _recorded(rows[exchange], pair["client"], pair.get("upstream"))


def _row(flow: object) -> dict[str, object]:
    try:
        row = msgspec.json.decode(getattr(flow, "comment", "") or "{}")
    except msgspec.DecodeError:
        return {}
    ours = isinstance(row, dict) and "interpose" in row and "exchange" in row and "leg" in row
    return row if ours else {}


def _recorded(
    row: dict[str, object], client: http.HTTPFlow, upstream: http.HTTPFlow | None
) -> Recorded:
    return Recorded(
        row=row,
        request=_message(client.request),
        response=_message(client.response) if client.response else None,
        upstream_request=_message(upstream.request) if upstream else None,
        upstream_response=_message(upstream.response) if upstream and upstream.response else None,
        broke=bool(client.error),
        at=client.request.timestamp_start or 0.0,
    )


def _message(message: http.Request | http.Response) -> Message:
    headers = {k.lower(): v for k, v in message.headers.items()}
    body = message.get_content(strict=False) or b""
    if isinstance(message, http.Request):
        return Message(headers, body, path=message.path)
    return Message(headers, body, status=message.status_code)


def files(paths: list[str]) -> Iterator[Path]:
    """Every flow file among ``paths``; a folder stands for those in it."""
    for path in map(Path, paths):
        if path.is_dir():
            yield from recordings(path)
        else:
            yield path
