"""A Containerfile without an engine: its steps read, and carried out in a throw-away folder.

What an engine would do by itself stands in: the base image is this machine, `chown` is only noted,
and the paths that the image has of its own lie in the folder.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.chain import ROOT

FILE = ROOT / "deploy" / "Containerfile"

type Step = tuple[str, str]


def stages(path: Path = FILE) -> dict[str, list[Step]]:
    """Each stage's steps by its name; the first is FROM with what it is from."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    found: dict[str, list[Step]] = {}
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name] = steps = []
            rest = base
        steps.append((word, rest.strip()))
    return found


def values(name: str, word: str) -> list[str]:
    """What stands behind ``word`` in a stage, and in those it is from, first things first."""
    known = stages()
    base = known[name][0][1]
    before = values(base, word) if base in known else []
    return before + [rest for step, rest in known[name] if step == word]


@dataclass
class Built:
    """What carrying out has left: the image's own paths under ``root``, and how it is run."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    user: str = ""
    words: dict[str, list[str]] = field(default_factory=dict)
    owned: list[str] = field(default_factory=list)

    def inside(self, text: str) -> str:
        """``text`` with the image's own paths where they are here."""
        return re.sub(r"(?<![\w./*-])/(?=(opt|src|data)\b)", f"{self.root}/", text)

    def outside_of_data(self) -> set[str]:
        """The files that are in the image and in no volume."""
        found = (str(path.relative_to(self.root)) for path in self.root.rglob("*"))
        return {name for name in found if not name.startswith("data")}


class Builder:
    """Carries out stages in ``folder``, each in the same place and then moved aside, since a
    virtual environment knows where it is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bin = folder / "stand-ins"
        self._bin.mkdir(parents=True)
        base = getattr(sys, "_base_executable", sys.executable)
        self._stand_in("python", f'exec {shlex.quote(base)} "$@"')
        self._stand_in("chown", f'echo "$@" >> {shlex.quote(str(folder / "chown.txt"))}')
        self._done: dict[str, Built] = {}

    def build(self, name: str) -> Built:
        """The stage ``name``, with what it is from, in its place."""
        self._stage(name)
        made = self._done[name]
        shutil.rmtree(made.root, ignore_errors=True)
        shutil.copytree(self._aside(name), made.root, symlinks=True, copy_function=os.link)
        return made

    def _stage(self, name: str) -> None:
        if name in self._done:
            return
        known = stages()
        steps = known[name]
        for word, rest in steps:
            source = rest if word == "FROM" else _from(rest)
            if source in known:
                self._stage(source)
        made = Built(self._folder / "image" / "root")
        made.root.parent.mkdir(exist_ok=True)
        shutil.rmtree(made.root, ignore_errors=True)
        base = steps[0][1]
        if base in self._done:
            before = self._done[base]
            made.env, made.cwd, made.user = dict(before.env), before.cwd, before.user
            made.words, made.owned = dict(before.words), list(before.owned)
            shutil.copytree(self._aside(base), made.root, symlinks=True, copy_function=os.link)
        else:
            for path in ("opt", "root"):
                (made.root / path).mkdir(parents=True)
        for word, rest in steps[1:]:
            self._step(made, word, rest)
        made.root.rename(self._aside(name))
        self._done[name] = made

    def _step(self, made: Built, word: str, rest: str) -> None:
        if word == "RUN":
            self._run(made, rest)
        elif word == "COPY":
            self._copy(made, rest)
        elif word == "ENV":
            for pair in shlex.split(rest):
                key, _, value = pair.partition("=")
                made.env[key] = made.inside(value)
        elif word == "WORKDIR":
            made.cwd = rest
            (made.root / rest[1:]).mkdir(parents=True, exist_ok=True)
        elif word == "USER":
            made.user = rest
        elif word in ("ENTRYPOINT", "CMD", "HEALTHCHECK"):
            made.words[word] = json.loads(rest[rest.index("[") :])
        else:
            assert word in ("VOLUME", "EXPOSE"), f"{word} is not known here"

    def _run(self, made: Built, line: str) -> None:
        assert not made.user, "a step that needs to be root stands behind USER"
        done = subprocess.run(
            ["/bin/sh", "-c", made.inside(line)],
            cwd=made.root / made.cwd[1:], env=self.environment(made), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=900,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        noted = self._folder / "chown.txt"
        if noted.exists():
            made.owned += noted.read_text().splitlines()
            noted.unlink()

    def _copy(self, made: Built, rest: str) -> None:
        source = _from(rest)
        *names, target = [word for word in rest.split() if not word.startswith("--")]
        start = self._aside(source) if source else ROOT
        to = made.root / made.cwd[1:] / target if target[0] != "/" else made.root / target[1:]
        for name in names:
            path = start / name.lstrip("/")
            if path.is_dir():
                ignored = shutil.ignore_patterns("__pycache__") if not source else None
                shutil.copytree(path, to, symlinks=True, ignore=ignored, dirs_exist_ok=True)
            else:
                file = to / path.name if target.endswith("/") else to
                file.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, file)

    def environment(self, made: Built) -> dict[str, str]:
        """The variables in the container, and those by which packages are found on this machine."""
        names = ("PIP_", "NPM_CONFIG_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_", "NODE_")
        ours = {k: v for k, v in os.environ.items() if k.upper().startswith(names)}
        ours.setdefault("npm_config_cache", str(Path.home() / ".npm"))
        path = f"{made.env.get('PATH', '')}:{os.environ['PATH']}".strip(":")
        found = {**ours, "HOME": str(made.root / "root"), **made.env}
        return {**found, "PATH": f"{self._bin}:{path}" if not made.user else path}

    def _aside(self, name: str) -> Path:
        return self._folder / f"stage-{name}"

    def _stand_in(self, name: str, line: str) -> None:
        path = self._bin / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)


def _from(rest: str) -> str:
    found = re.match(r"--from=(\S+)", rest)
    return found[1] if found else ""
