"""The policy in force: what is wrong with it, what costs, and whose key is not set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..policy.load import Report
from ..policy.schema import Policy
from ..policy.variables import VARIABLE
from ..policy.warn import unset
from ..route.choose import to
from .finding import Finding, Section

_MOST = 10


def policies(report: Report, path: Path, env: Mapping[str, str]) -> list[Finding]:
    """What ``report`` says of the policy at ``path``."""
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
    _unset(section, policy, env)
    return section.found


def keyless(policy: Policy, env: Mapping[str, str]) -> dict[str, list[str]]:
    """The variables that each provider lacks."""
    found: dict[str, list[str]] = {}
    for name, provider in policy.providers.items():
        texts = [provider.base_url, provider.key]
        texts += [*provider.headers.values(), *provider.query.values()]
        names = [variable for text in texts for variable in VARIABLE.findall(text)]
        if lacking := [variable for variable in dict.fromkeys(names) if not env.get(variable)]:
            found[name] = lacking
    return found


def default_provider(policy: Policy) -> str:
    """The provider of the default model; empty where there is none."""
    if policy.default is None:
        return ""
    route = to(policy, policy.default, policy.default, "", "responses")
    return route.provider if route else ""


def _unset(section: Section, policy: Policy, env: Mapping[str, str]) -> None:
    lacking = keyless(policy, env)
    mine = default_provider(policy)
    if mine in lacking:
        names = " and ".join(lacking.pop(mine))
        section.warn(
            f"the default model's provider {mine} counts as down: {names} is not set in this shell",
            f"export {names} where the chain runs",
        )
    if lacking:
        told = ", ".join(f"{name} ({' '.join(names)})" for name, names in lacking.items())
        section.ok(f"providers that wait for a key: {told}")
    for number, rule in enumerate(policy.redact):
        names = " and ".join(n for n in VARIABLE.findall(rule.value or "") if not env.get(n))
        if names:
            section.warn(
                f"redact[{number}] ({rule.name}) masks nothing: {names} is not set in this shell",
                f"export {names} where the chain runs, or take the rule out",
            )
