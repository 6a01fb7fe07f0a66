"""Everything that a recorded file tells, whatever it is packed in: what tests search for keys."""

from __future__ import annotations

from pathlib import Path

from mitmproxy import http

from addons.flowfile import flows_of


def everything(path: Path) -> bytes:
    """The bytes of the file at ``path``; of a flow file, what its bodies read besides."""
    data = path.read_bytes()
    if ".flow" not in path.suffixes:
        return data
    parts = [data]
    for flow in flows_of(path):
        if isinstance(flow, http.HTTPFlow):
            messages = filter(None, (flow.request, flow.response))
            parts += [message.get_content(strict=False) or b"" for message in messages]
    return b"\n".join(parts)
