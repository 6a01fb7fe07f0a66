"""One task over one route: a copy of the code, the real Codex, the check, and the bill."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.systems import System
from benchmarks.tokens.model import Model
from benchmarks.tokens.tasks import Task
from shim.policy.schema import Model as PolicyModel
from shim.policy.schema import Policy
from tests.e2e.clients import run_codex

#: So large that Codex does not compact on its own.
_WINDOW = 4_000_000


def run_task(kind: str, system: System, model: Model, task: Task) -> dict[str, Any]:
    """One task over one route, as the real Codex does it; what it came to."""
    folder = Path(tempfile.mkdtemp(prefix=f"interpose-{task.name}-"))
    try:
        work = folder / task.package
        _prepare(work, task)
        name = f"{task.name}/{kind}"
        session = model.begin(name, task.script())
        run = run_codex(
            f"http://127.0.0.1:{system.port}/v1",
            f"{task.asked} (session {name})",
            work,
            model=system.model,
            key=system.key,
            timeout=900,
            policy=Policy(
                models={system.model: PolicyModel(provider="up", context_window=_WINDOW)}
            ),
        )
        done = subprocess.run(["sh", "-c", task.check], cwd=work, capture_output=True, text=True)
        failed = session.broken or ("" if session.done else "the script did not end")
        if not failed and done.returncode:
            failed = f"the check failed: {(done.stderr or done.stdout)[-200:]}"
        if failed:
            said = run.visible or run.stderr
            print(f"  {task.name} over {system.name}: {failed} {said[-600:]}", file=sys.stderr)
        return {
            "kind": kind,
            "route": system.name,
            "task": task.name,
            "turns": len(session.bills),
            "calls": session.calls,
            "failed": failed,
            "files": _files(work),
            "output": session.output,
            "bills": [[b.total, b.read, b.written] for b in session.bills],
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(work: Path, task: Task) -> None:
    spec = importlib.util.find_spec(task.package)
    assert spec and spec.submodule_search_locations, task.package
    source = Path(next(iter(spec.submodule_search_locations)))
    kept = shutil.ignore_patterns("__pycache__", "*.so", "*.js", "*.map", "*.svg", "static")
    shutil.copytree(source, work / task.package, ignore=kept)
    (work / ".gitignore").write_text("__pycache__/\n")
    script = f"git init -q . && git add -A && git commit -qm 'As it came' && {task.setup or 'true'}"
    env = {"GIT_CONFIG_GLOBAL": "/dev/null", "HOME": str(work), "PATH": "/usr/bin:/bin"}
    for who in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{who}_NAME": "bench", f"GIT_{who}_EMAIL": "bench@example.org"}
        env[f"GIT_{who}_DATE"] = "2026-01-02T03:04:05Z"
    subprocess.run(["sh", "-c", script], cwd=work, env=env, check=True, capture_output=True)


def _files(work: Path) -> str:
    """A mark of all files and what is in them."""
    mark = hashlib.blake2b(digest_size=8)
    for path in sorted(work.rglob("*")):
        parts = path.relative_to(work).parts
        if path.is_file() and not {".git", "__pycache__"} & set(parts):
            mark.update(f"{'/'.join(parts)}\0".encode() + path.read_bytes() + b"\0")
    return mark.hexdigest()
