"""The policy in force: what is wrong with it, what costs, and whose key is not set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..codex.login import login, uses_login
from ..policy.load import Report
from ..policy.schema import Policy
from ..policy.variables import VARIABLE
from ..policy.warn import expanded, unset
from ..route.choose import to
from .finding import Finding, Section

_MOST = 10
#: What a provider lacks that is asked with the login, while nobody is logged in.
LOGIN = "a ChatGPT login"


def policies(report: Report, path: Path, env: Mapping[str, str], used: str = "") -> list[Finding]:
    """What ``report`` says of the policy at ``path``; ``used`` is the model that Codex asks for, or
    that was switched to."""
    section = Section("Policy")
    fix = f"correct it there; `interpose policy check {path}` checks again"
    for problem in report.problems[:_MOST]:
        section.fail(str(problem), fix)
    if more := report.problems[_MOST:]:
        section.fail(f"{path}: {len(more)} more mistakes", fix)
    policy = report.policy
    if policy is None:
        return section.found
    section.ok(f"{path}: {len(policy.models)} models, default {policy.default or 'none'}")
    # Variables that are not set come together: a policy may name many providers nobody uses.
    told = {said for _, said in unset(policy, env)}
    costly = [problem for problem in report.warnings if problem.message not in told]
    for problem in costly[:_MOST]:
        section.warn(str(problem), f"see docs/policy.md; `interpose policy check {path}`")
    _unset(section, policy, env, used)
    return section.found


def lacking(policy: Policy, env: Mapping[str, str]) -> dict[str, list[str]]:
    """What each provider lacks to be asked: variables, or the login."""
    lacks: dict[str, list[str]] = {}
    for name, provider in policy.providers.items():
        texts = [text for _, text in expanded(name, provider)]
        names = [variable for text in texts for variable in VARIABLE.findall(text)]
        if absent := [variable for variable in dict.fromkeys(names) if not env.get(variable)]:
            lacks[name] = absent
        elif uses_login(provider) and login(env) is None:
            lacks[name] = [LOGIN]
    return lacks


def provider_of(policy: Policy, model: str | None) -> str:
    """The provider of ``model``, listed or ``PROVIDER:MODEL``; empty where there is none."""
    route = to(policy, model, model, "", "responses") if model else None
    return route.provider if route else ""


def _unset(section: Section, policy: Policy, env: Mapping[str, str], used: str) -> None:
    waits = lacking(policy, env)
    for model, whose in ((policy.default, "the default model's"), (used, f"the model {used}'s")):
        name = provider_of(policy, model)
        if name not in waits:
            continue
        absent = waits.pop(name)
        if absent == [LOGIN]:
            why, step = "nobody is logged in with ChatGPT here", "`codex login`"
        else:
            why = f"{' and '.join(absent)} is not set in this shell"
            step = f"export {' and '.join(absent)} where the chain runs"
        section.warn(f"{whose} provider {name} counts as down: {why}", step)
    if waits:
        waiting = ", ".join(f"{name} ({' '.join(names)})" for name, names in waits.items())
        section.ok(f"providers that wait for a key: {waiting}")
    for number, rule in enumerate(policy.redact):
        names = " and ".join(n for n in VARIABLE.findall(rule.value or "") if not env.get(n))
        if names:
            section.warn(
                f"redact[{number}] ({rule.name}) masks nothing: {names} is not set in this shell",
                f"export {names} where the chain runs, or take the rule out",
            )
