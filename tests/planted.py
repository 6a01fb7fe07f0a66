"""Secrets of every kind that is looked for, made anew from a seed, to be planted and searched."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable


def digits(
    rng: random.Random, many: int, alphabet: str = string.ascii_letters + string.digits
) -> str:
    return "".join(rng.choice(alphabet) for _ in range(many - 2)) + "a1"


#: Kinds of secrets, each made anew from random characters.
SECRETS: dict[str, Callable[[random.Random], str]] = {
    "openai": lambda r: f"sk-proj-{digits(r, 40)}",
    "anthropic": lambda r: f"sk-ant-{digits(r, 40)}",
    "openrouter": lambda r: f"sk-or-{digits(r, 40)}",
    "github": lambda r: f"ghp_{digits(r, 36)}",
    "github fine": lambda r: f"github_pat_{digits(r, 40)}",
    "gitlab": lambda r: f"glpat-{digits(r, 20)}",
    "aws id": lambda r: f"AKIA{digits(r, 16, string.ascii_uppercase)[:14]}A1",
    "aws key": lambda r: f"aws_secret_access_key = {digits(r, 40)}",
    "slack": lambda r: f"xoxb-{digits(r, 24)}",
    "slack app": lambda r: f"xapp-1-{digits(r, 30)}",
    "slack hook": lambda r: f"https://hooks.slack.com/services/T000/B000/{digits(r, 24)}",
    "google": lambda r: f"AIza{digits(r, 35)}",
    "google token": lambda r: f"ya29.{digits(r, 40)}",
    "hugging face": lambda r: f"hf_{digits(r, 34)}",
    "npm": lambda r: f"npm_{digits(r, 36)}",
    "groq": lambda r: f"gsk_{digits(r, 50)}",
    "stripe": lambda r: f"sk_live_{digits(r, 24)}",
    "stripe hook": lambda r: f"whsec_{digits(r, 32)}",
    "jwt": lambda r: f"eyJ{digits(r, 20)}.eyJ{digits(r, 30)}.{digits(r, 40)}",
    "sendgrid": lambda r: f"SG.{digits(r, 22)}.{digits(r, 43)}",
    "telegram": lambda r: f"123456789:AA{digits(r, 33)}",
    "digitalocean": lambda r: f"dop_v1_{digits(r, 64, '0123456789abcdef')}",
    "shopify": lambda r: f"shpat_{digits(r, 32, '0123456789abcdef')}",
    "square": lambda r: f"sq0atp-{digits(r, 22)}",
    "pypi": lambda r: f"pypi-AgE{digits(r, 60)}",
    "age": lambda r: f"AGE-SECRET-KEY-1{digits(r, 58, string.ascii_uppercase).upper()}",
    "private key": lambda r: (
        f"-----BEGIN RSA PRIVATE KEY-----\n{digits(r, 64)}\n-----END RSA PRIVATE KEY-----"
    ),
    "bearer": lambda r: f"Authorization: Bearer {digits(r, 30)}",
    "database": lambda r: f"postgres://app:{digits(r, 14)}@localhost/db",
    "password": lambda r: f'password="{digits(r, 20)}"',
    "basic": lambda r: f"authorization: basic {digits(r, 30)}==",
    "url": lambda r: f"https://files.example.com/x?a=b&token={digits(r, 24)}&y=1",
    "azure": lambda r: f"AccountKey={digits(r, 60)}==",
}
#: What is left of each after the label that everybody may read.
_CORE = re.compile(r"[A-Za-z0-9]{14,}")


def core(secret: str) -> str:
    return max(_CORE.findall(secret), key=len)
