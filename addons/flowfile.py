"""Reading recorded flow files: exchanges, each with its legs and the row that tells of it; and
writing them anew."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from secrets import token_hex
from typing import Any

import msgspec
import zstandard
from mitmproxy import exceptions, http
from mitmproxy import flow as mflow
from mitmproxy.io import FlowReader, FlowWriter

from shim.encodings import readable
from shim.policy.schema import Policy
from shim.record import packed, summary
from shim.record.files import PACKED, opened, recordings, whole
from shim.record.replay import Message, Recorded
from shim.system import private_folder, replace

logger = logging.getLogger(__name__)


class Unreadable(Exception):
    """A file that holds no recorded exchanges; the sentence names it."""


def read(path: Path) -> Iterator[Recorded]:
    """The exchanges recorded in the flow file at ``path``, packed or not, in order."""
    yield from recorded_of(flow for flow in flows_of(path) if isinstance(flow, http.HTTPFlow))


def flows_of(path: Path) -> Iterator[mflow.Flow]:
    """Every flow in the file at ``path``, packed or not."""
    try:
        yield from _flows(path)
    except OSError as e:
        raise Unreadable(f"{path}: {e.strerror or e}") from None
    except exceptions.FlowReadException as e:
        raise Unreadable(f"{path}: not a flow file: {e}") from None


def write(path: Path, flows: Iterable[mflow.Flow]) -> None:
    """Make the flow file at ``path`` of ``flows``; what stood there goes once all is written."""
    fresh = path.with_name(f".{path.name}.{token_hex(4)}")
    try:
        private_folder(path.parent)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        packer = zstandard.ZstdCompressor().stream_writer if path.suffix == PACKED else nullcontext
        with open(descriptor, "wb") as file, packer(file) as out:
            writer = FlowWriter(out)
            for flow in flows:
                writer.add(flow)
        if path.exists():
            fresh.chmod(path.stat().st_mode & 0o777)
        replace(fresh, path)
    except OSError as e:
        raise Unreadable(f"{path}: {e.strerror or e}") from None
    finally:
        with suppress(OSError):
            fresh.unlink()


def body_of(message: http.Message | None) -> bytes:
    """The body of ``message`` as it reads; mitmproxy's own would unpack without end."""
    if message is None:
        return b""
    return readable(message.raw_content or b"", message.headers.get("content-encoding", ""))[0]


def set_body(message: http.Message, body: bytes) -> None:
    """Give ``message`` a ``body``, and headers that fit it."""
    message.headers.fields = tuple(packed.plain(message.headers.fields))
    message.raw_content = body
    if "content-length" in message.headers:
        message.headers["content-length"] = str(len(body))


def _flows(path: Path) -> Iterator[mflow.Flow]:
    with opened(path) as file:
        try:
            yield from FlowReader(file).stream()
        except exceptions.FlowReadException:
            # A machine that lost its power, or a flow that is just being written.
            if path.suffix == PACKED or not (good := whole(path)) or file.tell() < good:
                raise
            logger.warning("%s: ends in the middle of a flow; what stands before is read", path)


def recorded_of(flows: Iterable[http.HTTPFlow]) -> Iterator[Recorded]:
    """The exchanges among ``flows``: legs that the chain recorded, put together."""
    legs: dict[str, dict[str, http.HTTPFlow]] = {}
    rows: dict[str, dict[str, object]] = {}
    policies: dict[str, Policy | None] = {}
    for flow in flows:
        if row := row_of(flow):
            if told := flow.metadata.get(summary.POLICY):
                policies[str(row.get("policy"))] = _policy(str(told))
            legs.setdefault(str(row["exchange"]), {})[str(row["leg"])] = flow
            rows[str(row["exchange"])] = row
    for exchange, pair in legs.items():
        if "client" in pair:
            policy = policies.get(str(rows[exchange].get("policy")))
            yield _recorded(rows[exchange], pair["client"], pair.get("upstream"), policy)


@lru_cache(maxsize=16)
def _policy(told: str) -> Policy | None:
    try:
        return msgspec.json.decode(told, type=Policy)
    except (msgspec.MsgspecError, UnicodeError):
        # Of a later version: the recording replays as one without it.
        return None


def row_of(flow: object) -> dict[str, Any]:
    """What the chain wrote down of ``flow``; empty where it is none of its exchanges."""
    if not isinstance(flow, mflow.Flow):
        return {}
    return summary.row(flow.metadata, flow.comment)


def set_row(flow: mflow.Flow, row: dict[str, Any]) -> None:
    """Write down ``row``, with its leg, of ``flow``."""
    rest = {name: value for name, value in row.items() if name != "leg"}
    flow.comment = summary.comment(row["leg"], rest)
    flow.metadata |= summary.metadata(row["leg"], rest)


def _recorded(
    row: dict[str, object],
    client: http.HTTPFlow,
    upstream: http.HTTPFlow | None,
    policy: Policy | None,
) -> Recorded:
    return Recorded(
        row=row,
        request=_message(client.request),
        response=_message(client.response) if client.response else None,
        upstream_request=_message(upstream.request) if upstream else None,
        upstream_response=_message(upstream.response) if upstream and upstream.response else None,
        broke=bool(client.error),
        at=client.request.timestamp_start or 0.0,
        policy=policy,
    )


def _message(message: http.Request | http.Response) -> Message:
    headers = {k.lower(): v for k, v in message.headers.items()}
    body = body_of(message)
    if headers.pop(packed.MARK.decode(), None):
        # As it was sent, not as it was written down.
        del headers["content-encoding"]
        if "content-length" in headers:
            headers["content-length"] = str(len(body))
    if isinstance(message, http.Request):
        return Message(headers, body, path=message.path, url=message.url)
    return Message(headers, body, status=message.status_code)


def files(paths: list[str]) -> Iterator[Path]:
    """Every flow file among ``paths``; a folder stands for those in it."""
    for path in map(Path, paths):
        if path.is_dir():
            yield from recordings(path)
        else:
            yield path
