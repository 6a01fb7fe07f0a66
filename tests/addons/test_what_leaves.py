"""What leaves for the target of a chain without a policy: the client's request, without what is the
chain's own, or the connection's."""

from __future__ import annotations

import pytest
from mitmproxy import http

from tests.addons.harness import TURN, Stages, error, stages

__all__ = ["stages"]

CHAIN_KEY = "a-client-key-0123456789"


def sent(stages: Stages, *fields: tuple[str, str], path: str = "/v1/responses") -> http.Request:
    """The request that leaves for a turn with these header fields."""
    subject = stages.flow(TURN, path=path)
    del subject.request.headers["authorization"]
    own = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    subject.request.headers = http.Headers([*subject.request.headers.fields, *own])
    stages.send(subject)
    assert subject.response is None, error(subject)
    return subject.request


@pytest.mark.parametrize(
    "fields",
    [
        [("authorization", f"Bearer {CHAIN_KEY}"), ("authorization", "Bearer theirs")],
        [("authorization", "Bearer theirs"), ("authorization", f"Bearer {CHAIN_KEY}")],
        [("x-api-key", "theirs"), ("authorization", f"bearer  {CHAIN_KEY}")],
        [("cookie", f"a=b; k={CHAIN_KEY}"), ("authorization", "Bearer theirs")],
        [("api-key", CHAIN_KEY), ("authorization", "Bearer theirs")],
    ],
)
def test_a_client_key_of_the_chain_wherever_it_is(
    stages: Stages, fields: list[tuple[str, str]]
) -> None:
    stages.access(keys=(CHAIN_KEY,))
    request = sent(stages, ("x-api-key", CHAIN_KEY), *fields)
    assert CHAIN_KEY not in str(request.headers.fields)
    theirs = [field for field in fields if "theirs" in field[1]]
    assert [(k, v) for k, v in request.headers.items() if "theirs" in v] == theirs


def test_a_client_key_in_the_query(stages: Stages) -> None:
    stages.access(keys=(CHAIN_KEY,))
    path = f"/v1/responses?a=1&key={CHAIN_KEY}&b=%20&api_key=theirs"
    request = sent(stages, ("x-api-key", CHAIN_KEY), path=path)
    assert request.path == "/v1/responses?a=1&b=%20&api_key=theirs"


def test_what_only_looks_like_a_client_key_stays(stages: Stages) -> None:
    stages.access(keys=("test",))
    request = sent(stages, ("x-api-key", "test"), ("x-team", "test"), ("user-agent", "test/1"))
    assert request.headers["x-team"] == "test" and request.headers["user-agent"] == "test/1"


def test_fields_of_the_connection_and_of_the_chain(stages: Stages) -> None:
    request = sent(
        stages,
        ("connection", "keep-alive, X-Mine , http2-settings"),
        ("x-mine", "1"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("upgrade", "h2c"),
        ("te", "trailers"),
        ("x-interpose-account", "1"),
        ("x-theirs", "2"),
    )
    assert set(request.headers) == {"host", "content-length", "x-theirs"}


@pytest.mark.parametrize(
    ("fields", "path", "where"),
    [
        ([("x-a", "b\r\n x-b: c")], "/v1/responses", "x-a"),
        ([("x-a", "b\0c")], "/v1/responses", "x-a"),
        ([("session-id", "b\rc")], "/v1/responses", "session-id"),
        ([("x-a", "b\x7f")], "/v1/responses", "x-a"),
        ([], "/v1/\0/responses", "path"),
        ([], "/v1/responses?a=\x1b", "path"),
    ],
)
def test_control_characters_are_refused_by_name(
    stages: Stages, fields: list[tuple[str, str]], path: str, where: str
) -> None:
    subject = stages.flow(TURN, path="/v1/responses")
    subject.request.data.path = path.encode()
    own = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    subject.request.headers = http.Headers([*subject.request.headers.fields, *own])
    status, message = error(stages.send(subject))
    assert status == 400 and where in message and "control character" in message


def test_a_tab_and_what_is_no_text_may_be_in_a_field(stages: Stages) -> None:
    request = sent(stages, ("x-a", "b\tc\xff"))
    assert request.headers.fields[1] == (b"x-a", b"b\tc\xff")


@pytest.mark.parametrize(
    ("version", "leaves"),
    [
        (b"HTTP/1.1", b"HTTP/1.1"),
        (b"HTTP/1.0", b"HTTP/1.0"),
        (b"HTTP/2.0", b"HTTP/2.0"),
        (b"HTTP/9.9", b"HTTP/1.1"),
        (b"HTTP/0.9", b"HTTP/1.1"),
    ],
)
def test_the_version_is_one_that_upstreams_know(
    stages: Stages, version: bytes, leaves: bytes
) -> None:
    subject = stages.flow(TURN)
    subject.request.data.http_version = version
    assert stages.send(subject).request.data.http_version == leaves
