"""`interpose restore-app [PATH]`: put the Codex Desktop back that `patch-app` patched."""

from __future__ import annotations

import argparse

from ..codex.desktop import restore
from .patch_app import add_arguments, report

__all__ = ["add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    return report(args, restore)
