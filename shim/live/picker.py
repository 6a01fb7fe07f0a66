"""``GET /picker``: the models of the policy as a page on which one is chosen; ``GET /api/models``.

The page is a form and needs no script. What it says of a model: where its turns go, what is known
against its provider, what it costs and has cost.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from ..codex.catalog import models_of
from ..policy.schema import Model, Policy
from ..policy.warn import unset
from ..route.switch import Switched
from ..shown import in_html
from .headers import page_headers
from .sums import short
from .tables import cell

_HERE = Path(__file__).parent
_OK = "ok"


def rows(
    policy: Policy, chosen: str | None, unwell: Mapping[str, str], spent: Mapping[str, float]
) -> list[dict[str, Any]]:
    """The models, as plain fields. ``unwell`` says what is wrong with providers, ``spent`` the
    dollars by ``PROVIDER/MODEL``."""
    wrong = {str(where[1]): said for where, said in unset(policy) if where[0] == "providers"}
    wrong |= unwell
    return [
        {
            "name": name,
            "chosen": name == chosen,
            "provider": model.provider,
            "protocol": _protocol(policy, model),
            "model": model.model or name,
            "fallbacks": model.fallbacks,
            "candidates": _candidates(policy, name),
            "context_window": model.context_window,
            "images": model.images,
            "reasoning": model.reasoning,
            "health": short(wrong.get(model.provider, _OK), 500),
            "price": _price(model),
            "spent": round(spent.get(f"{model.provider}/{model.model or name}", 0.0), 6),
        }
        for name, model in models_of(policy).items()
    ]


def says(page: Mapping[str, Any]) -> list[str]:
    """What stands now and what a switch has come to, in sentences; the first is the main one."""
    now: Switched | None = page["switched"]
    chosen, config = page["chosen"], page["codex"]
    if chosen is None:
        told = ["No model answers for names that the policy does not know: it has no default."]
    elif now is None or now.model != chosen:
        why = "as the policy says" if page.get("default", chosen) == chosen else "as it was started"
        told = [f"{chosen} answers for names that the policy does not know, {why}."]
    else:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now.at))
        told = [f"Switched to {chosen} ({at})."]
        names = " or ".join(now.instead)
        if names and now.before is not None:
            told.append(f"Sessions already open that ask for {names} go on with {chosen} now.")
        elif names:
            told.append(f"Whoever asks for {names} gets {chosen} now.")
    if config is None:
        told.append(
            "Not started by the daemon, this chain keeps a switch in its memory and ends with it;"
            " what new sessions ask for stands in the config of each client."
        )
    elif config["asks_for"] is None:
        told.append(
            f"New sessions of Codex do not come here by {config['file']}: run interpose enable."
        )
    else:
        told.append(f"New sessions of Codex ask for {config['asks_for']} ({config['file']}).")
    return [*told, page["restarted"]] if page["restarted"] else told


def render(page: Mapping[str, Any], token: str, error: str = "") -> tuple[bytes, dict[str, str]]:
    """The HTML and its headers. ``error`` says why what was just sent has changed nothing."""
    template, style, headers = _shell()
    told = [f"Nothing was switched: {error}."] if error else []
    told += page["says"]
    first, *more = [in_html(line) for line in told]
    moved = error or page["switched"]
    html = template.substitute(
        style=style,
        title=first,
        # Who reads with a screen reader hears the outcome first.
        focus=" autofocus" if moved else "",
        said="".join([f"<strong>{first}</strong>", *(f"<br>\n{line}" for line in more)]),
        token=in_html(token),
        rows="\n".join(map(_row, page["models"])),
        restart=_RESTART if page["can_restart"] else _NO_RESTART,
    )
    return html.encode("utf-8", "replace"), headers


_RESTART = (
    '<p><label><input type="checkbox" name="restart" value="true"> Restart Codex Desktop, if it'
    " runs: it ends, turns under way with it, and starts anew</label></p>"
)
_NO_RESTART = (
    "<p>Codex Desktop reads its config when it starts. It can be restarted from here on macOS"
    " only.</p>"
)


@cache
def _shell() -> tuple[Template, str, dict[str, str]]:
    style = "".join((_HERE / f"{name}.css").read_text("utf-8") for name in ("dashboard", "picker"))
    html = (_HERE / "picker.html").read_text("utf-8")
    return Template(html), style, page_headers(style)


def _row(row: Mapping[str, Any]) -> str:
    checked = " checked" if row["chosen"] else ""
    # What is sent back has to be the name itself.
    name, value = in_html(row["name"]), escape(row["name"])
    button = f'<input type="radio" name="model" value="{value}" required{checked}>'
    cells = [
        f'<th scope="row"><label>{button} {name}</label></th>',
        f"<td>{in_html(_route(row))}</td>",
        f"<td{'' if row['health'] == _OK else ' class=unwell'}>{in_html(row['health'])}</td>",
        f'<td class="number">{cell(row["context_window"], "count")}</td>',
        f"<td>{'yes' if row['images'] else 'no'}</td>",
        f'<td class="number">{in_html(_cost(row["price"]))}</td>',
        f'<td class="number">{cell(row["spent"] if row["price"] else None, "money")}</td>',
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _route(row: Mapping[str, Any]) -> str:
    if row["candidates"]:
        return f"one of {', '.join(row['candidates'])}"
    way = f"{row['provider']} → {row['model']}"
    way += f" ({row['protocol']})" if row["protocol"] else ""
    return way + (f", else {', '.join(row['fallbacks'])}" if row["fallbacks"] else "")


def _cost(price: Mapping[str, float | None] | None) -> str:
    if price is None:
        return "–"
    cached = "" if price["cached"] is None else f" (cached {price['cached']:g})"
    return f"{price['input']:g}{cached} / {price['output']:g}"


def _protocol(policy: Policy, model: Model) -> str | None:
    provider = policy.providers.get(model.provider)
    return provider.protocol if provider else None


def _candidates(policy: Policy, name: str) -> list[str]:
    auto = policy.auto
    return [c.model for c in auto.candidates] if auto and auto.name == name else []


def _price(model: Model) -> dict[str, float | None] | None:
    price = model.price
    if price is None:
        return None
    return {
        "input": price.input,
        "output": price.output,
        "cached": price.cached,
        "cache_write": price.cache_write,
    }
