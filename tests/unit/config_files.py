"""Random `config.toml` files as people have them, and broken ones, from a seed."""

from __future__ import annotations

import random
import tomllib

_VALUES = (
    '"gpt-5.5"', "'gpt-5.5'", '"""\ntwo\nlines"""', "'''\n# no comment\n[no.header]\n'''", "true",
    "-17", "1_000", "3.5e2", "1979-05-27T07:32:00Z", "[]", '[ "a", # why\n  "b",\n]', "[[1, 2], []]",
    '{ a = 1, "b c" = [ { d = "}" } ] }', '"# no comment"', '"a \\" quote = [ {"', '"""a ""quoted"" b"""',
    "'''ends in a quote''''", '"grüße 🦊"', '"""\\\n   folded\n"""',
)  # fmt: skip
_ROOT = (
    "model", "model_provider", "model_catalog_json", "model_context_window", "approval_policy",
    "model_auto_compact_token_limit", "model_reasoning_effort", '"quoted key"', "'model_x'", "x",
    "tui.theme", "history . persistence", "model_providers.mine.name", '"model"', "unknown-key",
    "model_providers.interpose.name", '"model_providers"."interpose".base_url',
)  # fmt: skip
_HEADERS = (
    "[profiles.work]", "[ mcp_servers . docs ]", '[projects."/home/me/a b"]', "[[hooks]]", "[features]",
    "[model_providers.other]", "[model_providers]", "[model_providers.interpose]", "\t[tui]",
    "[model_providers.interpose.http_headers]", "[model_providers.other.auth]", "[notice]", "[sandbox]",
)  # fmt: skip
_COMMENTS = (
    "# plain", "#", "# model = 1", "   # indented", "", "  ", "\t", "#   [model_providers.interpose]",
    "# >>> something else", "#interpose", "# häkchen ✓",
)  # fmt: skip
_BROKEN = (
    "model =", "= 3", "[unclosed", 'x = "open', "x = [1, 2", "model = 1\nmodel = 2", "x = {a = 1", "a b = 1",
    "[t]\n[t]", "x = nope", 'x = """open', "x = 01", "x = 1 y = 2",
)  # fmt: skip


def valid(seed: int) -> bytes:
    """A file that a parser takes."""
    rng = random.Random(seed)
    text = rng.choice(("", "", "# my settings\n", "\n\n"))
    if rng.random() < 0.15:
        text += f"model_providers = {{ mine = {{ name = {rng.choice(_VALUES[:2])} }} }}\n"
    for _ in range(rng.randrange(10)):
        text = _with(text, _pair(rng, rng.choice(_ROOT)))
    for _ in range(rng.randrange(6)):
        header = rng.choice(_HEADERS) + rng.choice(("", "  # why\n", "\n")) + "\n"
        section = header.replace("\n\n", "\n") + rng.choice(_COMMENTS) + "\n"
        if header.startswith("[model_providers]"):
            section += rng.choice(('foo = { name = "f" }\n', 'foo.name = "f"\n', ""))
        for _ in range(rng.randrange(4)):
            section = _with(section, _pair(rng, rng.choice(_ROOT)), text)
        text = _with(text, section)
    if rng.random() < 0.3:
        text = text.rstrip("\n")
    if rng.random() < 0.2:
        text += "# the end"
    if rng.random() < 0.35:
        text = text.replace("\n", "\r\n")
    elif rng.random() < 0.1:
        text = text.replace("\n", "\r\n", 2)
    return (b"\xef\xbb\xbf" if rng.random() < 0.15 else b"") + text.encode()


def broken(seed: int) -> bytes:
    """A file that no parser takes."""
    rng = random.Random(seed)
    around = valid(seed).decode("utf-8-sig").replace("\r\n", "\n")
    wrong = rng.choice(_BROKEN)
    text = rng.choice((f"{wrong}\n{around}", f"{around}\n{wrong}", f"{around}\n{wrong}\n"))
    if rng.random() < 0.1:
        return around.encode() + b'\nx = "\xff\xfe"\n'
    return (text.replace("\n", "\r\n") if rng.random() < 0.3 else text).encode()


def _pair(rng: random.Random, key: str) -> str:
    space = rng.choice(("", "", "  "))
    after = rng.choice(("", "", "  # why", "\t#interpose", "\n" + rng.choice(_COMMENTS)))
    return f"{space}{key}{rng.choice((' = ', '=', '  =\t'))}{rng.choice(_VALUES)}{after}\n"


def _with(text: str, more: str, before: str = "") -> str:
    """``text`` with ``more``, unless that would break it."""
    try:
        tomllib.loads(before + text + more)
    except tomllib.TOMLDecodeError:
        return text
    return text + more
