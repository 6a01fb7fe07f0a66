"""Who may switch by a page: its own page, with its own token; nobody else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shim.live.guard import FORM, HEADER, LONGEST, Guard, Refused

GUARD = Guard()
HOST = {"host": "127.0.0.1:8790"}
JSON = {**HOST, "content-type": "application/json", HEADER: GUARD.token}
BODY = json.dumps({"model": "other"}).encode()


def refused(headers: dict[str, str], body: bytes = BODY) -> Refused:
    with pytest.raises(Refused) as told:
        GUARD.take(headers, body)
    assert GUARD.token not in str(told.value)
    return told.value


def test_a_program_and_a_form() -> None:
    wanted, form = GUARD.take(JSON, b'{"model": "other", "restart": true}')
    assert (wanted.model, wanted.restart, form) == ("other", True, False)
    body = f"token={GUARD.token}&model=a%3Ab&restart=true".encode()
    wanted, form = GUARD.take({**HOST, "content-type": f"{FORM}; charset=UTF-8"}, body)
    assert (wanted.model, wanted.restart, form) == ("a:b", True, True)


def test_a_token_is_256_bits_and_of_one_process() -> None:
    assert len({Guard().token for _ in range(5)}) == 5
    assert len(GUARD.token) == 43


@pytest.mark.parametrize(
    "own",
    [
        {"origin": "http://127.0.0.1:8790"},
        {"origin": "HTTP://127.0.0.1:8790", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
    ],
)
def test_the_pages_own_origin(own: dict[str, str]) -> None:
    assert GUARD.take({**JSON, **own}, BODY)[0].model == "other"


@pytest.mark.parametrize(
    "foreign",
    [
        {"origin": "null"},
        {"origin": ""},
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:8791"},
        {"origin": "http://127.0.0.1"},
        {"origin": "http://localhost:8790"},
        {"origin": "http://127.0.0.1:8790.evil.example"},
        {"origin": "http://127.0.0.1:8790, https://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://127.0.0.1:8790", "sec-fetch-site": "cross-site"},
    ],
)
def test_other_pages_are_refused_even_with_the_token(foreign: dict[str, str]) -> None:
    told = refused({**JSON, **foreign})
    assert told.status == 403 and not told.page


@pytest.mark.parametrize(
    "given",
    ["", "x", GUARD.token[:-1], Guard().token, "\udcff\u00e9"],
    ids=["none", "short", "cut", "another", "no text"],
)
def test_no_token_or_another_one(given: str) -> None:
    assert refused({**JSON, HEADER: given}).status == 403
    told = refused({**HOST, "content-type": FORM}, b"model=other&token=x")
    assert told.status == 403 and told.page


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data; boundary=x", "text/json"])
def test_only_a_form_and_json(kind: str) -> None:
    assert refused({**JSON, "content-type": kind}).status == 415


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"model": 3}', 400),
        (b'{"model": "a", "more": 1}', 400),
        (b'{"model": "a", "restart": "yes"}', 400),
        (b" " * (LONGEST + 1), 413),
    ],
)
def test_what_is_not_understood(body: bytes, status: int) -> None:
    assert refused(JSON, body).status == status


@pytest.mark.parametrize("more", ["&restart=perhaps", "&x=1", "&model=%ff"])
def test_a_form_that_is_not_understood(more: Any) -> None:
    body = f"token={GUARD.token}&model=other{more}".encode()
    assert refused({**HOST, "content-type": FORM}, body).status == 400
