"""A macOS app made of the shapes of Codex Desktop, packed and read by Electron's own library."""

from __future__ import annotations

import hashlib
import json
import os
import plistlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.clients import asar_cli
from tests.unit.desktop_shapes import PICKERS, RECENTS

#: What the code of an app does, before and after the patch.
ORIGINAL = {"picked": ["own"], "recent": None}
PATCHED = {"picked": ["own", "foreign"], "recent": []}
Mac = Callable[..., tuple[int, str, str]]

#: Reads an archive with Electron's library, checks every hash, and runs the code in it.
LOOK = """
const [library, file] = process.argv.slice(1);
const asar = require(library);
const {getFileIntegrity} = require(library + '/lib/integrity.js');
const {createHash} = require('crypto'), {Readable} = require('stream'), vm = require('vm');
(async () => {
  const raw = asar.getRawHeader(file), context = vm.createContext({}), files = {}, wrong = [];
  for (const path of asar.listPackage(file)) {
    const name = path.slice(1), node = asar.statFile(file, name, false);
    if ('files' in node) continue;
    if ('link' in node) { files[name] = '-> ' + node.link; continue; }
    const bytes = asar.extractFile(file, name);
    files[name] = createHash('sha256').update(bytes).digest('hex');
    const pieces = []; // a stream of no bytes at all is what an empty file is
    for (let at = 0; at < bytes.length; at += 65536) pieces.push(bytes.subarray(at, at + 65536));
    const integrity = await getFileIntegrity(Readable.from(pieces, {objectMode: false}));
    if (JSON.stringify(integrity) !== JSON.stringify(node.integrity)) wrong.push(name);
    if (/^webview.*[.]js$/.test(name)) vm.runInContext(String(bytes), context);
  }
  const models = [['own', false], ['foreign', false], ['secret', true]];
  context.models = models.map(([model, hidden]) => ({model, hidden}));
  context.allowed = new Set(['own']);
  const picked = vm.runInContext('pick(models, allowed)', context).map(({model}) => model);
  const hash = createHash('sha256').update(raw.headerString).digest('hex');
  const recent = vm.runInContext('recent()', context);
  console.log(JSON.stringify({hash, files, wrong, picked, recent}));
})();
"""


def make_app(
    folder: Path,
    picker: str = PICKERS["26.825"],
    recent: str = RECENTS["26.818"],
    version: str = "26.825.31428",
    name: str = "Codex.app",
    form: plistlib.PlistFormat = plistlib.FMT_XML,
    identifier: str = "com.openai.codex",
) -> Path:
    """The app, with what archives have: unpacked files, links, an empty one, one of many blocks."""
    app = folder / name
    source = folder / f"source-{version}"
    files = {
        "webview/assets/app-initial-Bx1.js": picker.encode(),
        "webview/assets/zz-after.js": b"var later=1;",
        "webview/assets/signals-Cx2.js": recent.encode(),
        "webview/assets/\u00fcber.css": "a{content:'\u2713'}".encode(),
        "node_modules/native/x.node": b"\x7fELF" * 100,
        "big.bin": bytes(range(256)) * 40_000,
        "exact.bin": b"\0" * 4 * 1024 * 1024,
        "empty": b"",
        "run.sh": b"#!/bin/sh\n",
    }
    for path, content in files.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(content)
    (source / "run.sh").chmod(0o755)
    (source / "linked").symlink_to("node_modules/native")
    (source / "link.js").symlink_to("webview/assets/zz-after.js")
    contents = app / "Contents"
    (contents / "Resources").mkdir(parents=True)
    (contents / "_CodeSignature").mkdir()
    (contents / "_CodeSignature" / "CodeResources").write_text("the maker's")
    (contents / "MacOS").mkdir()
    (contents / "MacOS" / "Codex").symlink_to("/bin/sleep")
    archive = contents / "Resources" / "app.asar"
    pack = [str(asar_cli()), "pack", str(source), str(archive), "--unpack-dir", "node_modules"]
    subprocess.run(pack, check=True, capture_output=True, timeout=60)
    info = {
        "CFBundleIdentifier": identifier,
        "CFBundleShortVersionString": version,
        "CFBundleVersion": "5440",
        "ElectronAsarIntegrity": {
            "Resources/app.asar": {"algorithm": "SHA256", "hash": look(app)["hash"]},
            "Resources/other.asar": {"algorithm": "SHA256", "hash": "0" * 64},
        },
        "AnAppBefore": "B",
    }
    (contents / "Info.plist").write_bytes(plistlib.dumps(info, fmt=form, sort_keys=False))
    return app


def look(app: Path) -> dict[str, Any]:
    """What Electron's library finds in the app's archive, and what the code in it does."""
    archive = app / "Contents" / "Resources" / "app.asar"
    done = subprocess.run(
        ["node", "-e", LOOK, str(asar_cli().resolve().parents[1]), str(archive)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def works(app: Path) -> dict[str, Any]:
    """What is found in an app that Electron would start: all of its hashes are right."""
    found = look(app)
    assert found["wrong"] == []
    info = plistlib.loads((app / "Contents" / "Info.plist").read_bytes())
    assert info["ElectronAsarIntegrity"]["Resources/app.asar"]["hash"] == found["hash"]
    return found


def tree(app: Path) -> dict[str, tuple[int, str]]:
    """Everything in a folder: modes, and what links point to or files hold."""
    found = {}
    for path in sorted(app.rglob("*")):
        mode = path.lstat().st_mode
        held = ""
        if path.is_symlink():
            held = os.readlink(path)
        elif path.is_file():
            held = hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(app))] = (mode, held)
    return found


def does(app: Path) -> dict[str, object]:
    found = works(app)
    return {name: found[name] for name in ("picked", "recent")}


def backup(app: Path) -> Path:
    return app.parent / f".interpose-{app.name}"
