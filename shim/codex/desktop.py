"""Codex Desktop on macOS: patching its code so that it shows every model, and undoing it.

Nothing is changed in place. The patch is made and signed in a copy beside the app, and then copy
and app change places in one step of the file system; the original, signed by its maker, is what
is kept. So whatever is cut short leaves a whole app, and undoing gives back the very same one.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import plistlib
import shutil
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from . import asar, places

#: Its name since mid-2026 is that of another app of the same maker, which has another identifier.
NAMES = ("Codex.app", "ChatGPT.app")
IDENTIFIER = "com.openai.codex"
#: The key of Info.plist under which Electron looks for the hashes of archives.
INTEGRITY = "ElectronAsarIntegrity"
RECORD, ORIGINAL = "record.json", "original"


class DesktopError(Exception):
    """Why the app cannot be patched or restored, in one line."""


@dataclass(frozen=True)
class App:
    """An app bundle that is Codex Desktop."""

    path: Path
    version: str
    build: str
    info: dict[str, Any]

    @property
    def asar(self) -> Path:
        return self.path / "Contents" / "Resources" / "app.asar"

    @property
    def plist(self) -> Path:
        return self.path / "Contents" / "Info.plist"

    @property
    def backup(self) -> Path:
        """Where the original is kept: beside the app, and hidden, so that nothing starts it."""
        return self.path.parent / f".interpose-{self.path.name}"

    def sums(self) -> dict[str, str]:
        return {file.name: _sum(file) for file in (self.asar, self.plist)}


@dataclass(frozen=True)
class Result:
    """What was, or would be, done to an app."""

    app: App
    changed: bool
    said: str
    found: tuple[places.Found, ...] = ()


def find_app(named: str | None) -> App:
    """The app at that path, else in the folders macOS has for apps. DesktopError without one."""
    if named is not None:
        return open_app(Path(named).expanduser().resolve())
    folders = (Path("/Applications"), Path.home() / "Applications")
    for path in (folder / name for folder in folders for name in NAMES):
        if path.is_dir():
            try:
                return open_app(path.resolve())
            except DesktopError:
                continue
    raise DesktopError("no Codex Desktop in /Applications or ~/Applications: name its path")


def open_app(path: Path) -> App:
    plist = path / "Contents" / "Info.plist"
    try:
        info = plistlib.loads(plist.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise DesktopError(f"{path}: this is no macOS app, it has no Contents/Info.plist") from None
    except OSError as e:
        raise DesktopError(f"{plist}: {e.strerror}") from None
    except Exception:  # plistlib raises what its parsers raise
        raise DesktopError(f"{plist}: this is no property list that can be read") from None
    identifier = info.get("CFBundleIdentifier") if isinstance(info, dict) else None
    if not isinstance(identifier, str) or not f"{identifier}.".startswith(f"{IDENTIFIER}."):
        raise DesktopError(f"{path}: this is not Codex Desktop, its identifier is {identifier}")
    version, build = info.get("CFBundleShortVersionString"), info.get("CFBundleVersion")
    app = App(path, str(version), str(build), info)
    if not app.asar.is_file():
        raise DesktopError(f"{path}: it has no Contents/Resources/app.asar")
    return app


def patch(app: App, dry_run: bool = False) -> Result:
    """Patch the app, or say what there is to patch. DesktopError, and nothing changed, if not."""
    record = _record(app)
    if record and record["patched"] == app.sums():
        return Result(app, False, f"patched already, version {app.version}")
    archive = asar.read(app.asar)
    stored = _stored_hash(app.info)
    if stored is not None and stored.get("hash") != archive.hash:
        raise DesktopError(
            f"{app.plist}: its hash of app.asar is not that of app.asar: something else changed"
            " the app; install it anew"
        )
    try:
        found = tuple(places.find(archive.files, archive.read))
    except places.PlaceError as e:
        raise DesktopError(f"Codex Desktop {app.version}: {e}; nothing was changed") from None
    if all(each.done for each in found):
        return Result(app, False, "nothing to do, both places are as they should be", found)
    if dry_run:
        return Result(app, False, "can be patched", found)
    _must_not_run(app)
    _remove(app.backup)  # what is left of a patch cut short, or of a version that is gone
    before = app.sums()
    try:
        app.backup.mkdir(mode=0o700)
        copy = _patched_copy(app, archive, places.change(found, archive.read), before)
        _must_not_run(app)
        if app.sums() != before:
            raise DesktopError(f"{app.path} was changed meanwhile, by its updater maybe: try again")
    except BaseException:
        _remove(app.backup)
        raise
    try:
        _swap(app.path, copy.path)
    except OSError:  # and nothing else: once they are swapped, the folder holds the original
        _remove(app.backup)
        raise
    # No longer called .app: nothing shall take it for a second Codex.
    copy.path.rename(app.backup / ORIGINAL)
    return Result(open_app(app.path), True, "patched", found)


def restore(app: App, dry_run: bool = False) -> Result:
    """Put the original back. DesktopError, and nothing changed, when that would be wrong."""
    record = _record(app)
    if record is None:
        if not dry_run:
            _remove(app.backup)  # a patch cut short, before it had changed anything
        raise DesktopError(f"{app.path}: not patched by `interpose patch-app`, there is no backup")
    now = app.sums()
    if now == record["original"]:
        if not dry_run:
            _remove(app.backup)
        return Result(app, False, "the original already")
    if now != record["patched"]:
        raise DesktopError(
            f"{app.path} is no longer what was patched: that was version {record['version']}, this"
            f" is {app.version}. An update brings code without the patch, so there is nothing to"
            f" undo: delete {app.backup}, or run `interpose patch-app` to patch the new version"
        )
    kept = next(
        (p for p in (app.backup / ORIGINAL, app.backup / app.path.name) if p.is_dir()), None
    )
    try:
        sound = kept is not None and open_app(kept).sums() == record["original"]
    except (DesktopError, OSError):
        sound = False
    if kept is None or not sound:
        raise DesktopError(f"{app.backup}: the backup is damaged; install Codex Desktop anew")
    if dry_run:
        return Result(app, False, "can be restored")
    _must_not_run(app)
    _swap(app.path, kept)
    _remove(app.backup)
    return Result(open_app(app.path), True, "restored")


def _patched_copy(
    app: App, archive: asar.Archive, changes: dict[str, bytes], before: dict[str, str]
) -> App:
    """A patched and signed copy in the backup's folder, with the record of both."""
    # Data and modes only: attributes such as quarantine, at which codesign stops, stay behind.
    target = app.backup / app.path.name
    try:
        shutil.copytree(app.path, target, symlinks=True)
    except shutil.Error as e:
        _, _, why = e.args[0][0]
        raise DesktopError(f"{app.path} could not be copied: {why}") from None
    copy = App(target, app.version, app.build, app.info)
    written = asar.write(archive, _emptied(copy.asar), changes)
    raw = app.plist.read_bytes()
    info = plistlib.loads(raw)
    stored = _stored_hash(info)
    if stored is not None:
        stored["hash"] = written.hash
        form = plistlib.FMT_BINARY if raw.startswith(b"bplist") else plistlib.FMT_XML
        _emptied(copy.plist).write_bytes(plistlib.dumps(info, fmt=form, sort_keys=False))
    _sign(copy)
    record = {
        "version": app.version,
        "build": app.build,
        "original": before,
        "patched": copy.sums(),
    }
    with (app.backup / RECORD).open("w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    return copy


def _stored_hash(info: dict[str, Any]) -> dict[str, Any] | None:
    """Electron's entry for app.asar in Info.plist, None where the app checks no hashes."""
    archives = info.get(INTEGRITY)
    entry = archives.get("Resources/app.asar") if isinstance(archives, dict) else None
    if entry is not None and (not isinstance(entry, dict) or entry.get("algorithm") != "SHA256"):
        raise DesktopError(f"Info.plist has an {INTEGRITY} of a kind that is not known here")
    return entry


def _sign(app: App) -> None:
    tool = shutil.which("codesign")
    if not tool:
        raise DesktopError("codesign is missing: run `xcode-select --install`; nothing was changed")
    for words in (["--force", "--deep", "--sign", "-"], ["--verify"]):
        try:
            done = subprocess.run(
                [tool, *words, str(app.path)],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as e:
            raise DesktopError(f"codesign did not run ({e}); nothing was changed") from None
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
            raise DesktopError(
                f"codesign could not sign the app; nothing was changed: {said[-500:]}"
            )


def running(app: App, part: str = "") -> list[int]:
    """The processes that run from the app, or from that part of its contents."""
    try:
        listed = subprocess.run(
            ["ps", "-axww", "-o", "pid=,args="],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=60, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        raise DesktopError("whether Codex Desktop runs cannot be seen: ps failed") from None
    lines = (line.strip().partition(" ") for line in listed.splitlines())
    within = f"{app.path}/Contents/{part}"
    return [int(pid) for pid, _, command in lines if command.strip().startswith(within)]


def _must_not_run(app: App) -> None:
    """DesktopError while a process runs from the app."""
    for pid in running(app):
        raise DesktopError(f"{app.path} is running (process {pid}): quit it and try again")


def _swap(one: Path, other: Path) -> None:
    """Let two folders change places, in one step that cannot be seen half done."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renamex_np"):  # macOS
        exchange = partial(libc.renamex_np, os.fsencode(one), os.fsencode(other))
    else:
        exchange = partial(libc.renameat2, -100, os.fsencode(one), -100, os.fsencode(other))
    if exchange(2):  # RENAME_SWAP, RENAME_EXCHANGE
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one))


def _record(app: App) -> dict[str, Any] | None:
    """What the patch wrote down; None when it never came that far."""
    path = app.backup / RECORD
    try:
        record = json.loads(path.read_text("utf-8"))
        if record["original"] and record["patched"] and record["version"]:
            return record
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    if not (app.backup / ORIGINAL).exists():
        return None
    raise DesktopError(
        f"{path} cannot be read: the original app is {app.backup / ORIGINAL}; move it to {app.path}"
        " yourself, or delete it"
    )


def _emptied(path: Path) -> Path:
    """A file that can be written even if it was read-only, with the same rights."""
    mode = path.stat().st_mode
    path.unlink()
    path.touch()
    path.chmod(mode | 0o200)
    return path


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
