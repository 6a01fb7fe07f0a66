"""`python -m tests.conformance`: llmprobe against the chain, and docs/conformance.md made of it.

Exits 1 when an assertion fails that nobody has explained below.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.clients.installed import LLMPROBE, llmprobe
from tests.conformance import model
from tests.e2e.chain import Chain
from tests.e2e.upstreams import Upstream

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
UPSTREAMS = {"chat": model.chat, "messages": model.messages}
TITLES = {"chat": "a Chat Completions upstream", "messages": "an Anthropic Messages upstream"}
#: Failures and open questions that stay, by the suite's own names, and why.
EXPLAINED = {
    "messages-stop-sequence-echo": "Chat Completions says `stop` both when an answer ends by itself"
    " and when a stop sequence cut it; which one it was cannot be told to a Messages client.",
    "chat-assistant-prefill": "the scripted model does not continue a prefilled answer; the last"
    " assistant message reaches the upstream as it is.",
    "messages-assistant-prefill": "the same.",
    "chat-reasoning-cap": "the scripted model's thinking does not fill a small limit.",
    "responses-reasoning-cap": "the same.",
    "messages-reasoning-cap": "the same.",
    "responses-background": "an answer in the background would have to be kept and fetched; the"
    " request is refused by name.",
}


def probe(protocol: str) -> dict[str, Any]:
    """The suite's report on the chain over an upstream of ``protocol``."""
    with Upstream(UPSTREAMS[protocol]) as upstream, tempfile.TemporaryDirectory() as folder:
        entry = f"base_url: '{upstream.url}/v1', protocol: {protocol}, key: any"
        policy = f"providers: {{up: {{{entry}}}}}\nmodels: {{m: {{provider: up}}}}\ndefault: m\n"
        report = Path(folder) / "report.json"
        with Chain(policy=policy) as chain:
            words = [str(llmprobe()), chain.url, "--model", "m", "--no-bench", "--no-save"]
            words += ["--no-color", "--timeout", "20", "--save", str(report)]
            done = subprocess.run(
                words,
                env={**os.environ, "HOME": folder, "NO_PROXY": "127.0.0.1,localhost"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=300,
            )
        if not report.exists():
            raise SystemExit(
                f"llmprobe ended without a report:\n{done.stdout}{done.stderr}"[-2000:]
            )
        found: dict[str, Any] = json.loads(report.read_text())
        return found


def open_questions(report: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    """What did not pass, by name: the outcome, the suite's title, what it says."""
    found = {}
    for result in report["conformance"]["results"]:
        if result["outcome"] in ("fail", "inconclusive"):
            said = [f["message"] for f in result["failures"] if f["severity"] == "MUST"]
            what = "; ".join(said) or str(result.get("detail") or result.get("reason") or "")
            found[result["id"]] = (result["outcome"], result["name"], what)
    return found


def figures(report: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Per surface, checks passed and checks made, of those the model gave a chance to."""
    found: dict[str, tuple[int, int]] = {}
    for result in report["conformance"]["results"]:
        if result["outcome"] in ("pass", "fail"):
            passed, made = found.get(result["surface"], (0, 0))
            found[result["surface"]] = (passed + (result["outcome"] == "pass"), made + 1)
    return found


def page(reports: dict[str, dict[str, Any]]) -> str:
    """docs/conformance.md."""
    lines = [
        "# Conformance",
        "",
        f"[llmprobe](https://www.npmjs.com/package/llmprobe) {LLMPROBE} is somebody else's suite"
        " for inference servers: it asks for everything the three protocols promise, streamed and"
        " not, and checks the answers against their published schemas (Open Responses among them)."
        " Here it is run against the chain, once for each kind of upstream that needs translation."
        " The model behind it is scripted and does as it is told, so what is judged is the"
        " protocol.",
        "",
        "```sh",
        "make conformance",
        "```",
        "",
        "runs it again and writes this page. Checks passed, of those the model gave a chance to:",
        "",
        "| surface | " + " | ".join(f"over {TITLES[p]}" for p in reports) + " |",
        "|---|" + "---|" * len(reports),
    ]
    counted = {protocol: figures(report) for protocol, report in reports.items()}
    for surface in dict.fromkeys(s for found in counted.values() for s in found):
        cells = (f"{found[surface][0]} of {found[surface][1]}" for found in counted.values())
        lines.append(f"| {surface} | {' | '.join(cells)} |")
    lines += ["", "## What did not pass", ""]
    asked = {p: open_questions(report) for p, report in reports.items()}
    names = {n: q[1] for found in asked.values() for n, q in found.items()}
    for name, title in names.items():
        where = " and ".join(TITLES[p] for p, found in asked.items() if name in found)
        outcome = next(found[name][0] for found in asked.values() if name in found)
        how = "fails" if outcome == "fail" else "cannot be judged"
        lines.append(f"- **{title}** {how} over {where}: {EXPLAINED.get(name, 'NOT EXPLAINED')}")
    lines += [
        "",
        "The suite also counts surfaces that have nothing to do with a coding agent (embeddings,"
        " images, audio, the legacy completions); the chain does not serve them, and says 404.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    reports = {}
    for protocol in UPSTREAMS:
        print(f"llmprobe over {TITLES[protocol]} …", file=sys.stderr)
        reports[protocol] = probe(protocol)
    PAGE.write_text(page(reports), encoding="utf-8")
    strange = 0
    for protocol, report in reports.items():
        for name, (outcome, title, what) in open_questions(report).items():
            known = name in EXPLAINED
            strange += not known
            mark = "explained" if known else "NOT EXPLAINED"
            print(f"{protocol}: {outcome}: {title} ({name}, {mark}): {what}")
        total = figures(report).values()
        print(f"{protocol}: {sum(p for p, _ in total)} of {sum(m for _, m in total)} checks pass")
    return 1 if strange else 0


if __name__ == "__main__":
    sys.exit(main())
