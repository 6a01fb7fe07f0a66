"""The form of flow files is the one that mitmproxy reads."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.io import FlowReader, tnetstring
from mitmproxy.test import tflow

from addons import recorder
from addons.record import _fields
from shim.record.netstring import pieces, ready

PLAIN = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
    | st.text() | st.binary() | st.binary(min_size=5000, max_size=5100)
)  # fmt: skip
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner) | st.tuples(inner) | st.dictionaries(st.sampled_from("abc"), inner)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_it_is_what_mitmproxy_writes(value: Any) -> None:
    # Up to the order of dictionaries.
    wanted, made = tnetstring.dumps(value), b"".join(pieces(value))
    assert made == ready(value) and len(made) == len(wanted)
    assert tnetstring.loads(made) == tnetstring.loads(wanted)
    assert b"".join(pieces({"a": ready(value)})) == b"".join(pieces({"a": value}))


def test_a_long_body_is_not_copied() -> None:
    body = b"x" * 100_000
    assert any(piece is body for piece in pieces({"request": {"content": body}, "comment": "c"}))


def test_what_has_no_form_is_an_error() -> None:
    with pytest.raises(TypeError, match="object"):
        pieces({"a": [object()]})


def exchange(key: str, asked: list[bytes], answered: list[bytes]) -> recorder.Job:
    """An exchange of two legs with these bodies."""
    flow = tflow.tflow(resp=True, err=True)
    assert flow.response and flow.error
    flow.error.msg = f"broke with {key}"
    flow.request.path = f"/v1/responses?key={key}&x=ü"
    flow.response.trailers = http.Headers(x_echo=key)
    leg = (_fields(flow.request), _fields(flow.response))
    bodies = [body for pair in zip(asked, answered, strict=True) for body in pair]
    connections = (flow.client_conn.get_state(), flow.server_conn.get_state())
    row = {"exchange": "x", "route": {}, "decisions": []}
    return recorder.Job(
        row, frozenset([key]), connections, [leg, leg], flow.error.get_state(), bodies
    )


def test_what_is_written_is_read_back_without_keys() -> None:
    key = "sk-planted-9876543210"
    # The client wrote its key with an escape: by its bytes it is only there upstream.
    escaped = key.replace("-", "\\u002d").encode()
    job = exchange(key, [b'{"a":"%b"}' % escaped, key.encode()], [b"same", b"same"])
    (again,) = recorder.receive(BytesIO(b"".join(recorder.frame([job]))))
    assert again == job
    data = b"".join(recorder.written(again))
    assert key.encode() not in data
    client, upstream = FlowReader(BytesIO(data)).stream()
    for flow, made in zip((client, upstream), recorder.flows(again), strict=True):
        assert isinstance(flow, http.HTTPFlow) and flow.id != made.id
        assert {**flow.get_state(), "id": ""} == {**made.get_state(), "id": ""}
        assert flow.response and flow.response.raw_content == b"same"
        assert flow.request.path == "/v1/responses?key=[redacted]&x=ü"
        assert flow.error and flow.error.msg == "broke with [redacted]"
    assert isinstance(upstream, http.HTTPFlow) and upstream.request.raw_content == b"[redacted]"


def test_a_batch_that_was_cut_off_holds_what_came_whole() -> None:
    jobs = [exchange("k" * 9, [b"q%d" % n, b"u"], [b"a", b"a"]) for n in range(3)]
    sent = b"".join(recorder.frame(jobs))
    assert recorder.receive(BytesIO(sent)) == jobs
    assert recorder.receive(BytesIO(sent[:-1])) == jobs[:2]
    assert recorder.receive(BytesIO(sent[:20])) == recorder.receive(BytesIO()) == []
