"""``interpose doctor``: what is wrong on this machine and what to do about it; changes nothing."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping

import msgspec
from rich.console import Console
from rich.text import Text

from ..doctor.finding import Finding, Section
from ..doctor.gather import gather, settle
from ..doctor.guard import guarded
from ..policy.schema import Policy
from . import UsageError
from .chain import DEFAULT_POLICY
from .screen import Screen

_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is looked at, and how it is told."""
    parser.add_argument(
        "--policy",
        metavar="FILE",
        help="policy YAML (else the daemon's, else $INTERPOSE_POLICY, else policies/default.yaml)",
    )
    parser.add_argument(
        "--record", metavar="DIR", help="where flow files go (else where the daemon's go)"
    )
    parser.add_argument("--port", type=int, help="a port to look at (else the daemon's, else 8080)")
    parser.add_argument(
        "--online",
        action="store_true",
        help="ask the policy's providers, too: for their model lists, and with an empty turn",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 when something does not work."""
    if args.port is not None and not 0 < args.port < 65536:
        raise UsageError(f"--port must be between 1 and 65535, is {args.port}")
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        # A terminal that has no ✓ shall not end the report.
        reconfigure(errors="replace")
    asked = settle(args.policy, args.record, args.port, os.environ, DEFAULT_POLICY)
    gathered = gather(asked)
    findings = gathered.findings
    if args.online:
        findings = findings + guarded("Providers", lambda: _online(gathered.policy, asked.env))
    failed = sum(finding.level == "fail" for finding in findings)
    if args.json:
        told = {"failed": failed, "findings": msgspec.to_builtins(findings)}
        print(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        _print(findings)
    return 1 if failed else 0


def _online(policy: Policy | None, env: Mapping[str, str]) -> list[Finding]:
    from rich.progress import Progress

    from ..doctor import online

    if policy is None:
        section = Section("Providers")
        section.warn("none was asked: the policy cannot be used", "see the section Policy")
        return section.found
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Asking providers", total=None)
        reached = asyncio.run(
            online.reach(policy, env, lambda n, of: progress.update(task, completed=n, total=of))
        )
    return online.providers(reached, policy)


def _print(found: list[Finding]) -> None:
    console = Screen(soft_wrap=True)
    section = ""
    for finding in found:
        if finding.section != section:
            section = finding.section
            console.print(Text(section, "bold"))
        mark, colour = _MARKS[finding.level]
        console.print(Text.assemble(("  " + mark, colour), " ", finding.text))
        if finding.fix:
            console.print(Text.assemble("    ", ("→ ", "bold"), finding.fix))
    bad, odd = (sum(f.level == level for f in found) for level in ("fail", "warn"))
    told = [f"{bad} thing{'s' * (bad > 1)} not working"] if bad else []
    told += [f"{odd} to look at"] if odd else []
    console.print("\n" + (", ".join(told) or "All is well") + ".")
