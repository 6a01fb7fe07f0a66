"""Where secrets hide: each place is found, and what holds nothing stays byte for byte."""

from __future__ import annotations

import base64
import json
import random
import struct
import zlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.policy.rules import RedactRule
from shim.prompt.mask import Masks
from shim.prompt.secrets import Finder
from shim.record.hidden import _BREAK, _RUN, _runs
from shim.record.pictures import stripped
from shim.record.redact import CLEAN, Redactor
from tests.e2e.record_sessions import png
from tests.planted import SECRETS, core

pytestmark = pytest.mark.slow

FINDER = Finder([RedactRule(u, use=u) for u in ("api-keys", "private-keys", "credentials")], {})  # type: ignore[arg-type]
REDACT = Redactor(["known-value-1234"], Masks(FINDER, b"k", as_json=True))
KEY = "ghp_" + "aB3" * 13


def hidden(text: str) -> str:
    return REDACT.deep(text.encode()).decode()


@pytest.mark.parametrize("kind", SECRETS)
@given(st.integers(0, 9), st.binary(max_size=5), st.booleans())
def test_in_base64_of_anything(kind: str, seed: int, before: bytes, wrapped: bool) -> None:
    secret = SECRETS[kind](random.Random(seed))
    said = before + b" " + secret.encode() + b" and so on"
    text = base64.encodebytes(said) if wrapped else base64.b64encode(said)
    body = json.dumps({"output": text.decode()}).encode()
    made = REDACT.deep(body)
    assert len(made) == len(body)
    told = base64.b64decode(json.loads(made)["output"])
    assert core(secret).encode() not in told and told.endswith(b" and so on")
    assert told.startswith(before)


def test_in_base64_in_base64_in_a_path_and_in_urls() -> None:
    once = base64.b64encode(f"it is {KEY} here".encode()).decode()
    twice = base64.b64encode(json.dumps({"a": once}).encode()).decode()
    told = json.loads(base64.b64decode(hidden(twice)))["a"]
    assert "aB3aB3" not in base64.b64decode(told).decode()
    assert hidden(f"x/{once}")[:2] == "x/" and once not in hidden(f"x/{once}")
    address = "https://u:{}@h.example/x"
    assert hidden(quote(address.format("pässwort1"), safe="")).startswith(
        "https%3A%2F%2Fu%3AMASKED_"
    )
    inside = base64.b64encode(quote(address.format("passwort1"), safe="").encode()).decode()
    assert base64.b64decode(hidden(inside)) == b"https%3A%2F%2Fu%3A*********%40h.example%2Fx"


def test_in_needless_escapes() -> None:
    assert "aB3" not in hidden(json.dumps({"a": f"token={KEY}"}).replace("=", "\\u003d"))
    value = "0/aB3cD4eF5gH6iJ7/k"
    made = hidden(json.dumps({"a": f"token={value}"}).replace("/", "\\/"))
    assert "aB3" not in made and "iJ7" not in made
    plain = r'{"a": "\u0026 and \/"}'
    assert hidden(plain) == plain


@given(st.lists(st.integers(1, 9), min_size=1), st.sampled_from(["chat", "messages", "responses"]))
def test_in_pieces_of_a_stream(sizes: list[int], protocol: str) -> None:
    text, pieces = f"see {KEY} and known-value-1234.", []
    while text:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(text[:size])
        text = text[size:]
    events: dict[str, list[object]] = {
        "chat": [{"choices": [{"index": 0, "delta": {"content": p}}]} for p in pieces],
        "messages": [{"index": 1, "delta": {"type": "text_delta", "text": p}} for p in pieces],
        "responses": [{"type": "response.output_text.delta", "delta": p} for p in pieces],
    }
    body = b"".join(b"data: %b\r\n\r\n" % json.dumps(e).encode() for e in events[protocol])
    made = REDACT.deep(body + b"data: [DONE]\r\n\r\n")
    told = "".join(
        _said(json.loads(line[5:])) for line in made.splitlines() if line[:7] == b"data: {"
    )
    assert told == f"see {hidden(KEY)} and [redacted]."
    assert made.count(b"\r\n") == 2 * len(pieces) + 2


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf", b"\r\n", b"\x08ata: [DONE]\n\n", b"{}\n\n"])
def test_in_pieces_of_a_stream_however_its_lines_end(begin: bytes, end: bytes) -> None:
    pieces = (f"see {KEY[:5]}", KEY[5:], " known-va", "lue-1234")
    events = [json.dumps({"choices": [{"index": 0, "delta": {"content": p}}]}) for p in pieces]
    body = begin + b"".join(b"data: %b%b" % (event.encode(), end) for event in events)
    lines = REDACT.deep(body).replace(b"\xef\xbb\xbf", b"").splitlines()
    assert "".join(_said(json.loads(line[5:])) for line in lines if line[:7] == b"data: {") == (
        f"see {hidden(KEY)} [redacted]"
    )
    searched = REDACT.about([body])
    assert searched.deep(body) == REDACT.deep(body)


def test_a_stream_with_bytes_that_are_no_text_is_searched() -> None:
    body = b'data: {"type":"mes\xffsage"}\n\ndata: {"delta":{"text":"known-value-1234"}}\n\n'
    assert b"known-value" not in REDACT.about([body]).deep(body)


HIDDEN = {
    "plain": lambda text: text,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "wrapped": lambda text: json.dumps(base64.encodebytes(text.encode()).decode()),
    "of URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "twice": lambda text: base64.b64encode(base64.b64encode(text.encode())).decode(),
    "URL": lambda text: quote(text, safe=""),
    "escapes": lambda text: json.dumps(text).replace("_", "\\u005f").replace("-", "\\u002d"),
    "stream": lambda text: "".join(
        f"data: {json.dumps({'delta': {'text': piece}})}\n\n" for piece in (text[:9], text[9:])
    ),
}
MASKS = Redactor((), Masks(FINDER, b"k", as_json=True))


@pytest.mark.parametrize("redact", [REDACT, MASKS, Redactor(["known-value-1234"])])
@given(
    st.lists(st.tuples(st.sampled_from(sorted(HIDDEN)), st.text(max_size=30), st.booleans())),
    st.sampled_from(sorted(SECRETS)),
    st.integers(0, 99),
)
def test_what_is_searched_at_once_is_what_each_text_says(
    redact: Redactor, texts: list[tuple[str, str, bool]], kind: str, seed: int
) -> None:
    rng = random.Random(seed)
    secret = f"{SECRETS[kind](rng)} known-value-1234"
    made = [
        HIDDEN[how](f"{before} {secret if tells else 'nothing'} and so on").encode(
            "utf-8", "surrogatepass"
        )
        for how, before, tells in texts
    ]
    found = redact.about(made)
    assert [found.deep(text) for text in made] == [redact.deep(text) for text in made]


@pytest.mark.parametrize("redact", [REDACT, MASKS])
def test_where_nothing_hides_nothing_is_searched_again(redact: Redactor) -> None:
    assert redact.about([how("an ordinary text").encode() for how in HIDDEN.values()]) is CLEAN


@given(
    st.lists(
        st.from_regex(r"[A-Za-z0-9+/_-]{15,45}", fullmatch=True)
        | st.sampled_from(["\n", "\\n", "\\\\r", " ", "=", "\\", "é", '"'])
    )
)
def test_runs_of_base64_are_found_at_once(pieces: list[str]) -> None:
    data = "".join(pieces).encode()
    slow = [_BREAK.sub(b"", match[0]) for match in _RUN.finditer(data)]
    assert list(_runs(data)) == slow


def _said(event: dict) -> str:  # type: ignore[type-arg]
    delta = event["choices"][0]["delta"] if "choices" in event else event["delta"]
    return (
        delta if isinstance(delta, str) else str(delta.get("content", "") + delta.get("text", ""))
    )


@given(st.text() | st.from_regex(r"[A-Za-z0-9+/_%\\-]{0,60}"))
def test_what_holds_nothing_stays(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    if not FINDER.find_bytes(data) and b"%" not in data:
        assert REDACT.deep(data) == data


@pytest.mark.parametrize(
    "body",
    [b"data: 3\n", b'data: {"choices": 5, "delta": {"text": 1}}\n', b"data: [1", b"\xff\xfe"],
)
def test_streams_that_are_none(body: bytes) -> None:
    assert REDACT.deep(body) == body


def test_a_private_key_that_breaks_off() -> None:
    made = hidden(json.dumps("-----BEGIN RSA PRIVATE KEY-----\nMIIEabc0\nQIBAAKC1"))
    assert "MIIE" not in made and "QIBAAK" not in made


# What pictures tell besides.


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME"])
def test_png(kind: bytes) -> None:
    plain = png()
    told = plain[:33] + chunk(kind, b"where I live") + plain[33:]
    assert stripped(told) == plain and stripped(plain) is plain
    assert stripped(told + b"behind its end") == plain
    for end in range(len(told)):
        assert stripped(told[:end]) == told[:end]
    body = json.dumps({"url": f"data:image/png;base64,{base64.b64encode(told).decode()}"})
    for given_body in (body, body.replace("/", "\\/")):
        url = json.loads(Redactor(()).deep(given_body.encode()))["url"]
        assert base64.b64decode(url.partition(",")[2]) == plain


JPEG = b"\xff\xd8\xff\xe0\0\7JFIF\0\xff\xee\0\3A%b\xff\xda\0\2\1\xff\0\2\xff\xd0\3\xff\xd9"


@pytest.mark.parametrize("kind", [b"\xe1", b"\xed", b"\xfe"])
def test_jpeg(kind: bytes) -> None:
    told = JPEG % (b"\xff" + kind + b"\0\6GPS!")
    assert stripped(told) == JPEG % b"" and stripped(JPEG % b"") == JPEG % b""
    for end in range(len(told)):
        assert stripped(told[:end]) == told[:end]


def test_webp() -> None:
    def webp(flags: int, *chunks: bytes) -> bytes:
        body = b"VP8X" + struct.pack("<I", 10) + bytes([flags]) + bytes(9) + b"".join(chunks)
        return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body

    drawn = b"VP8L" + struct.pack("<I", 4) + b"draw"
    told = webp(0x0C, drawn, b"EXIF" + struct.pack("<I", 3) + b"GPS\0", b"XMP \2\0\0\0me")
    assert stripped(told) == webp(0, drawn)
    for end in range(len(told)):
        assert stripped(told[:end]) == told[:end]


def test_what_is_no_picture() -> None:
    for data in (b"", b"RIFF\0\0\0\0WAVE", b"\xff\xd8\xff", b"GIF89a"):
        assert stripped(data) is data
