"""`interpose patch-app` and `restore-app` on an app that Electron's own library packs and reads."""

from __future__ import annotations

import json
import os
import plistlib
import subprocess
import sys
from itertools import cycle
from pathlib import Path

import pytest

from shim.codex import desktop
from tests.e2e.chain import poll
from tests.e2e.electron import ORIGINAL, PATCHED, Mac, backup, does, make_app, tree, works
from tests.unit.desktop_shapes import PICKERS, RECENTS


@pytest.mark.full
@pytest.mark.parametrize("form", [plistlib.FMT_XML, plistlib.FMT_BINARY], ids=["xml", "binary"])
def test_patched_the_app_shows_every_model_and_thread_and_is_undone(
    applications: Path, mac: Mac, codesign: Path, form: plistlib.PlistFormat
) -> None:
    app = make_app(applications, form=form)
    before, found = tree(app), works(app)
    assert does(app) == ORIGINAL

    code, out, _ = mac("patch-app", app)
    assert code == 0 and "26.825.31428" in out and str(backup(app)) in out
    assert does(app) == PATCHED
    after = works(app)
    changed = {name for name in found["files"] if after["files"][name] != found["files"][name]}
    assert changed == {"webview/assets/app-initial-Bx1.js", "webview/assets/signals-Cx2.js"}
    assert {name for name, what in tree(app).items() if what != before[name]} == {
        "Contents/Info.plist",
        "Contents/Resources/app.asar",
        "Contents/_CodeSignature/CodeResources",
    }
    raw = (app / "Contents" / "Info.plist").read_bytes()
    assert raw.startswith(b"bplist") == (form is plistlib.FMT_BINARY)
    info, old = plistlib.loads(raw), plistlib.loads((original(app) / "Info.plist").read_bytes())
    assert list(info) == list(old)
    assert info["ElectronAsarIntegrity"]["Resources/other.asar"]["hash"] == "0" * 64
    signed, verified = codesign.with_suffix(".log").read_text().splitlines()
    assert signed.startswith("--force --deep --sign - ") and verified.startswith("--verify ")
    record = json.loads((backup(app) / "record.json").read_text())
    assert record["version"] == "26.825.31428" and len(record["original"]["app.asar"]) == 64
    assert tree(backup(app) / "original") == before

    code, out, _ = mac("patch-app", app)
    assert code == 0 and "patched already, version 26.825.31428" in out
    assert mac("restore-app", app, "--dry-run")[0] == 0 and does(app) == PATCHED

    code, out, _ = mac("restore-app", app)
    assert code == 0 and "restored" in out
    assert tree(app) == before and not backup(app).exists()
    code, _, err = mac("restore-app", app)
    assert code == 1 and "not patched" in err
    assert mac("patch-app", app)[0] == 0 and does(app) == PATCHED


def original(app: Path) -> Path:
    return backup(app) / "original" / "Contents"


@pytest.mark.full
@pytest.mark.parametrize(("build", "recent"), list(zip(PICKERS, cycle(RECENTS), strict=False)))
def test_every_known_shape_does_what_it_should(
    applications: Path, mac: Mac, build: str, recent: str
) -> None:
    app = make_app(applications, PICKERS[build], RECENTS[recent])
    assert does(app) == ORIGINAL
    assert mac("patch-app", app)[0] == 0
    assert does(app) == PATCHED


def test_a_dry_run_changes_nothing_and_works_anywhere(
    applications: Path, mac: Mac, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(applications)
    before = tree(applications)
    monkeypatch.setattr(sys, "platform", "linux")
    code, out, _ = mac("patch-app", "--dry-run", "--json", app)
    said = json.loads(out)
    assert code == 0 and tree(applications) == before
    assert said["changed"] is False and said["dry_run"] is True and said["backup"] is None
    assert [(p["name"], p["done"]) for p in said["places"]] == [
        ("model picker", False),
        ("recent threads", False),
    ]
    for words in (
        ("patch-app", app),
        ("restore-app", app),
        ("patch-app",),
        ("patch-app", "--dry-run"),
    ):
        code, _, err = mac(*words)
        assert code == 1 and "on macOS only" in err and tree(applications) == before


def test_what_was_done_as_json(applications: Path, mac: Mac) -> None:
    app = make_app(applications)
    said = json.loads(mac("patch-app", "--json", app)[1])
    assert said["changed"] is True and said["backup"] == str(backup(app))
    assert said["app"] == str(app) and said["version"] == "26.825.31428" and said["build"] == "5440"
    assert json.loads(mac("restore-app", "--json", app)[1])["changed"] is True


@pytest.mark.parametrize(
    ("picker", "recent", "said"),
    [
        ("", RECENTS["26.818"], "model picker was found 0 times"),
        (PICKERS["26.825"] + PICKERS["26.601"], RECENTS["26.818"], "picker was found 2 times"),
        (PICKERS["26.825"], RECENTS["26.818"].replace("null", "void 0"), "threads was found 0"),
    ],
)
def test_code_of_another_shape_is_left_alone(
    applications: Path, mac: Mac, picker: str, recent: str, said: str
) -> None:
    app = make_app(applications, picker + "globalThis.pick??=()=>[];", recent)
    before = tree(applications)
    code, _, err = mac("patch-app", app)
    assert code == 1 and said in err and "26.825.31428" in err and "nothing was changed" in err
    assert tree(applications) == before


def test_codesign_fails(applications: Path, mac: Mac, codesign: Path) -> None:
    app = make_app(applications)
    before = tree(applications)
    codesign.with_suffix(".fails").touch()
    code, _, err = mac("patch-app", app)
    assert code == 1 and "nothing was changed" in err and "format is ambiguous" in err
    assert tree(applications) == before
    codesign.with_suffix(".fails").unlink()
    assert mac("patch-app", app)[0] == 0 and does(app) == PATCHED


def test_codesign_is_missing(applications: Path, mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(applications)
    before = tree(applications)
    monkeypatch.setenv("PATH", str(applications))
    code, _, err = mac("patch-app", app)
    assert code == 1 and "ps failed" in err
    (applications / "ps").symlink_to("/bin/true")
    code, _, err = mac("patch-app", app)
    assert code == 1 and "xcode-select --install" in err
    (applications / "ps").unlink()
    assert tree(applications) == before


def test_the_app_must_not_run(applications: Path, mac: Mac) -> None:
    app = make_app(applications)
    running = subprocess.Popen([app / "Contents" / "MacOS" / "Codex", "600"])
    try:
        cmdline = Path(f"/proc/{running.pid}/cmdline")
        poll(lambda: str(app) in cmdline.read_text(), 10, "the app to run")
        code, _, err = mac("patch-app", app)
        assert code == 1 and f"is running (process {running.pid}): quit it" in err
        assert does(app) == ORIGINAL and not backup(app).exists()
    finally:
        running.kill()
        running.wait()
    assert mac("patch-app", app)[0] == 0
    running = subprocess.Popen([app / "Contents" / "MacOS" / "Codex", "600"])
    try:
        cmdline = Path(f"/proc/{running.pid}/cmdline")
        poll(lambda: str(app) in cmdline.read_text(), 10, "the app to run")
        code, _, err = mac("restore-app", app)
        assert code == 1 and "is running" in err and does(app) == PATCHED
    finally:
        running.kill()
        running.wait()
    assert mac("restore-app", app)[0] == 0 and does(app) == ORIGINAL


def test_an_old_backup_never_goes_over_a_new_version(applications: Path, mac: Mac) -> None:
    app = make_app(applications)
    assert mac("patch-app", app)[0] == 0
    app.rename(applications / "old")  # as the updater does
    make_app(applications, version="26.1002.7")
    before = tree(app)
    code, _, err = mac("restore-app", app)
    assert code == 1 and tree(app) == before
    for word in ("26.825.31428", "26.1002.7", "nothing to undo", str(backup(app))):
        assert word in err
    assert mac("patch-app", app)[0] == 0 and does(app) == PATCHED
    assert mac("restore-app", app)[0] == 0 and tree(app) == before


@pytest.mark.full
def test_a_damaged_backup_is_not_put_back(applications: Path, mac: Mac) -> None:
    app = make_app(applications)
    assert mac("patch-app", app)[0] == 0
    archive = original(app) / "Resources" / "app.asar"
    archive.write_bytes(archive.read_bytes()[:-1] + b"?")
    code, _, err = mac("restore-app", app)
    assert code == 1 and "the backup is damaged" in err and does(app) == PATCHED
    (backup(app) / "record.json").write_text("{")
    for name in ("restore-app", "patch-app"):
        code, _, err = mac(name, app)
        assert code == 1 and "record.json cannot be read: the original app is" in err
        assert does(app) == PATCHED and original(app).exists()


def test_an_app_that_others_have_changed(applications: Path, mac: Mac) -> None:
    app = make_app(applications)
    archive = app / "Contents" / "Resources" / "app.asar"
    whole = archive.read_bytes()
    archive.write_bytes(whole.replace(b"zz-after.js", b"zz-aftar.js"))
    code, _, err = mac("patch-app", app)
    assert code == 1 and "something else changed the app; install it anew" in err
    archive.write_bytes(whole.replace(b"var later=1", b"var later=2"))
    code, _, err = mac("patch-app", app)
    assert code == 1 and "zz-after.js are not those it has hashes of" in err
    archive.write_bytes(whole[: len(whole) // 2])
    code, _, err = mac("patch-app", app)
    assert code == 1 and "ends after the archive does" in err
    assert not backup(app).exists()


@pytest.mark.full
def test_an_app_without_hashes_of_its_archive(applications: Path, mac: Mac) -> None:
    app = make_app(applications)
    plist = app / "Contents" / "Info.plist"
    info = plistlib.loads(plist.read_bytes())
    del info["ElectronAsarIntegrity"]
    plist.write_bytes(plistlib.dumps(info))
    assert mac("patch-app", app)[0] == 0
    assert plistlib.loads(plist.read_bytes()) == info


def test_what_is_not_codex_desktop(applications: Path, mac: Mac) -> None:
    other = make_app(applications, name="Other.app", identifier="com.openai.codexample")
    for path, said in [
        (applications / "none.app", "no macOS app"),
        (other, "not Codex Desktop, its identifier is com.openai.codexample"),
        (other / "Contents" / "Info.plist", "no macOS app"),
    ]:
        code, _, err = mac("patch-app", path)
        assert code == 1 and said in err
    (other / "Contents" / "Info.plist").write_text("<plist><dict>")
    assert "no property list" in mac("patch-app", other)[2]


@pytest.mark.full
def test_the_app_is_found_where_macos_has_it(
    tmp_path: Path, mac: Mac, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "Applications").mkdir()
    code, _, err = mac("patch-app")
    assert code == 1 and "no Codex Desktop in /Applications or ~/Applications" in err
    # The maker's other app has the name that Codex Desktop has since mid-2026.
    make_app(tmp_path / "Applications", name="ChatGPT.app", identifier="com.openai.chat")
    assert mac("patch-app")[0] == 1
    app = make_app(tmp_path / "Applications", version="1")
    assert mac("patch-app")[0] == 0 and does(app) == PATCHED


def test_macos_does_not_let_the_terminal_change_apps(
    applications: Path, mac: Mac, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(applications)
    before = tree(applications)

    def refuse(one: Path, other: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(one))

    monkeypatch.setattr(desktop, "_swap", refuse)
    code, _, err = mac("patch-app", app)
    assert code == 1 and "App Management" in err and tree(applications) == before


def test_an_app_that_cannot_be_copied(applications: Path, mac: Mac) -> None:
    app = make_app(applications)
    os.mkfifo(app / "Contents" / "pipe")
    before = tree(applications)
    code, _, err = mac("patch-app", app)
    assert code == 1 and "could not be copied" in err and "pipe" in err
    assert tree(applications) == before


def test_updated_while_it_is_patched(
    applications: Path, mac: Mac, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(applications)

    def update(copy: desktop.App) -> None:
        app.rename(applications / "old")
        make_app(applications, version="26.1002.7")

    monkeypatch.setattr(desktop, "_sign", update)
    code, _, err = mac("patch-app", app)
    assert code == 1 and "was changed meanwhile" in err
    assert does(app) == ORIGINAL and not backup(app).exists()
    assert "26.1002.7" in (app / "Contents" / "Info.plist").read_text()
