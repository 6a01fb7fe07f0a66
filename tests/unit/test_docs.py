"""README and docs: every command, policy, config, filter and link in them is one that works."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from mitmproxy import flowfilter, options
from mitmproxy.io import FlowReader
from mitmproxy.tools import cmdline
from mitmproxy.tools.dump import DumpMaster
from mitmproxy.tools.web.master import WebMaster

from shim.cli import COMMANDS
from shim.policy.load import parse_policy
from shim.record import pytest_plugin

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)

# Lines that are for the reader's shell; `codex` is run by the end-to-end tests.
PLAIN = (
    "codex",
    "git clone REPOSITORY interpose",
    "cd interpose",
    "export OPENROUTER_API_KEY=sk-or-...",
    "export INTERPOSE_KEY=any",
    'export INTERPOSE_KEY="$(interpose ensure)"',
    "export OPENROUTER_API_KEY=sk-or-…",
    "export INTERPOSE_CLIENT_KEYS_FILE=/etc/interpose/keys",
    "curl http://127.0.0.1:8080/health",
    "curl 'http://127.0.0.1:8080/health?live=1'",
    "curl http://127.0.0.1:8080/metrics",
    "echo INTERPOSE_CLIENT_KEYS=a-long-random-word > deploy/.env",
)


def blocks(kind: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for found, text in FENCE.findall(page.read_text("utf-8")):
            if found == kind:
                yield page.name, text


def cases(kind: str) -> list[object]:
    return [pytest.param(text, id=f"{page}-{n}") for n, (page, text) in enumerate(blocks(kind))]


def command_lines() -> list[object]:
    lines = [(page, line) for page, text in blocks("sh") for line in text.splitlines()]
    lines = [(page, line) for page, line in lines if not line.startswith("# ")]
    return [pytest.param(line, id=f"{page}: {line}") for page, line in dict.fromkeys(lines)]


#: Recordings of the reader's own.
LOCAL = ("flows/local", "flows/local/mine.flow", "shared.flow")
#: What a page's fragment of a policy stands in.
AROUND = """
providers:
  up: { base_url: "http://127.0.0.1:9/v1" }
models:
  small: { provider: up, price: { input: 0.1, output: 0.4 } }
  big: { provider: up, price: { input: 1, output: 4 } }
  vision: { provider: up, price: { input: 2, output: 8 } }
  strong: { provider: up, price: { input: 5, output: 25 } }
default: big
"""


@pytest.mark.parametrize("text", cases("yaml"))
def test_a_policy_loads(text: str) -> None:
    whole = re.search(r"^models:", text, re.M)
    policy = parse_policy(text if whole else AROUND + text)
    assert policy.models and policy.default in policy.models


@pytest.mark.parametrize("text", cases("toml"))
def test_a_config_is_the_one_that_serve_prints(text: str) -> None:
    from shim.codex.home import paste_lines

    printed = tomllib.loads(paste_lines("http://127.0.0.1:8080/v1", "kimi-k2", True))
    config = tomllib.loads(text)
    provider, ours = (c["model_providers"]["interpose"] for c in (config, printed))
    if provider.get("requires_openai_auth"):
        # With the ChatGPT login there is no key, and the name makes Codex speak as to OpenAI.
        del ours["env_key"]
        printed["model"] = config["model"]
        ours |= {"name": "OpenAI", "requires_openai_auth": True}
    assert config == printed


@pytest.mark.parametrize("line", command_lines())
def test_a_command_line_is_understood(line: str) -> None:
    words = shlex.split(line)
    if line in PLAIN:
        return
    if words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2])
        return
    name = words[0].rpartition("/")[2]
    assert name in CHECKS, f"what is {name}?"
    CHECKS[name](words[1:])


def make(words: list[str]) -> None:
    text = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", text, re.M) for target in words)


def interpose(words: list[str]) -> None:
    assert words[0] in COMMANDS
    module = importlib.import_module(f"shim.cli.{words[0].replace('-', '_')}")
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    mine = words[1 : words.index("--")] if "--" in words else words[1:]
    args = parser.parse_args(mine)
    for path in getattr(args, "files", []):
        assert (ROOT / path).exists() or path in LOCAL


def mitmdump(words: list[str]) -> None:
    check_mitm(words, DumpMaster, cmdline.mitmdump)


def mitmweb(words: list[str]) -> None:
    check_mitm(words, WebMaster, cmdline.mitmweb)


def check_mitm(
    words: list[str],
    master: Callable[[options.Options], object],
    parser_of: Callable[[options.Options], argparse.ArgumentParser],
) -> None:
    opts = options.Options()

    async def parser() -> argparse.ArgumentParser:
        master(opts)  # whose addons bring most of the options
        return parser_of(opts)

    args = asyncio.run(parser()).parse_args(words)
    for script in args.scripts or []:
        assert (ROOT / script).is_file()
    for setting in args.setoptions:
        name, _, value = setting.partition("=")
        assert name in our_options() or name in opts, f"no option {name}"
        if name in ("policy", "replay"):
            assert (ROOT / value).is_file()
    if getattr(args, "rfile", None):
        assert (ROOT / args.rfile).is_file()


@cache
def our_options() -> set[str]:
    text = "".join(path.read_text("utf-8") for path in (ROOT / "addons").glob("*.py"))
    return set(re.findall(r'add_option\(\s*"(\w+)"', text))


def pytest_(words: list[str]) -> None:
    parser = pytest.Parser(_ispytest=True)
    pytest_plugin.pytest_addoption(parser)
    args = parser.parse_known_args(words)
    assert all((ROOT / path).exists() for path in args.interpose_flows)


def docker(words: list[str]) -> None:
    assert words[:2] == ["compose", "-f"] and (ROOT / words[2]).is_file()
    services = yaml.safe_load((ROOT / words[2]).read_text())["services"]
    rest = words[3:]
    if rest[0] == "--profile":
        assert any(rest[1] in service.get("profiles", []) for service in services.values())
        rest = rest[2:]
    if rest[0] == "exec":
        assert rest[1] in services
        if rest[2] == "interpose":
            interpose(rest[3:])
    else:
        assert rest[0] in ("up", "cp")


def sh(words: list[str]) -> None:
    assert (ROOT / words[0]).is_file()
    text = (ROOT / words[0]).read_text()
    assert all(f" {word})" in text for word in words[1:] if word.startswith("--"))


CHECKS = {
    "make": make,
    "docker": docker,
    "sh": sh,
    "interpose": interpose,
    "mitmdump": mitmdump,
    "mitmweb": mitmweb,
    "pytest": pytest_,
}


#: Options of mitmproxy's own.
MITMPROXYS = {"web_columns"}


def test_settings_named_in_the_text_exist() -> None:
    for page in PAGES:
        for name in set(re.findall(r"--set (\w+)", page.read_text("utf-8"))) - MITMPROXYS:
            assert name in our_options(), f"{page.name}: --set {name}"


def test_the_filters_match_what_they_say() -> None:
    text = (ROOT / "docs" / "mitmweb.md").read_text("utf-8")
    filters = re.findall(r"^\| `(~.*)` \|", text, re.M)
    assert filters
    with (ROOT / "flows" / "apply-patch.flow").open("rb") as file:
        flows = list(FlowReader(file).stream())
    upstream = [flow for flow in flows if flowfilter.match(filters[0], flow)]
    client = [flow for flow in flows if flowfilter.match(filters[1], flow)]
    assert len(upstream) == len(client) == len(flows) // 2 > 0
    assert not [flow for flow in upstream if flow in client]
    for expression in filters:
        flowfilter.parse(expression)


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"


def test_a_table_of_measurements_names_the_commit_it_was_made_of() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    tables = re.findall(r"<!-- ([^>]+) -->\n(.*?)<!-- [^>]+ -->", text, re.S)
    assert {"results:begin", "recording: begin", "against: begin"} < {name for name, _ in tables}
    for name, table in tables:
        assert "|" not in table or re.search(r"commit `[0-9a-f]{7,40}`", table), name


LINK = re.compile(r"\]\(([^)#]+)")


def test_the_readme_begins_with_what_one_pastes() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    first, _, rest = text.partition("\n## ")
    assert first.count("\n") < 40, "the first screen"
    pasted = "".join(text for kind, text in FENCE.findall(first) if kind == "sh").splitlines()
    assert pasted[0].startswith("git clone ") and pasted[2] == "make run"
    key, question, answer = pasted[3:]
    assert key.startswith("export ") and " run -- exec " in question and answer.startswith("# ")
    for word in ("Leaving again", "Linux", "macOS", "Windows"):
        assert word in first
    assert "```sh\nmake test\n```" in rest
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    rows = re.findall(r"^\| (?!\|).+$", rest.partition("\n## ")[0], re.M)
    assert 0 < len(rows) <= 10
    assert len(LINK.findall(text)) <= 12


def test_every_page_is_listed_once_with_a_line_of_its_own() -> None:
    text = (ROOT / "docs" / "README.md").read_text("utf-8")
    listed = [LINK.findall(line) for line in text.splitlines() if line.startswith("- ")]
    assert all(len(links) == 1 for links in listed)
    pages = sorted(page.name for page in (ROOT / "docs").glob("*.md") if page.name != "README.md")
    assert sorted(link for links in listed for link in links) == pages
    assert "docs/README.md" in LINK.findall((ROOT / "README.md").read_text("utf-8"))
