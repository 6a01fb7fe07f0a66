#!/bin/sh
# Installs Interpose for its user: into a virtual environment in the user's data folder, with the
# command in ~/.local/bin. It never asks for more rights. docs/deploy.md says more.
set -eu

usage="usage: install.sh [--dry-run] [--uninstall | --find-python | FROM [--sha256 HASH]]
FROM is a checkout (else the one this script is in), a wheel, or the address of a wheel.
  --dry-run      say what would be done, and do nothing
  --sha256 HASH  what the wheel must be; needed for an address
  --uninstall    take back what was installed, and what \`interpose enable\` did
  --find-python  print the Python that would be taken, and do nothing else"

dry=
fresh=
scratch=
# What the shell has set for another Python, or the user for all installations, is not for this one.
unset PYTHONHOME PYTHONPATH
export PIP_USER=0 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1

say() {
    printf 'install: %s\n' "$1" >&2
}

fail() {
    say "$1"
    exit 1
}

# Does it, or says it.
run() {
    if [ -n "$dry" ]; then
        printf 'would run:'
        for word; do
            case $word in
                *[!A-Za-z0-9_./:=@%+,-]* | '') printf " '%s'" "$word" ;;
                *) printf ' %s' "$word" ;;
            esac
        done
        printf '\n'
    else
        "$@"
    fi
}

# A candidate counts only if it really runs: pyenv's shims exist for versions that are not active.
fits() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))' \
        >/dev/null 2>&1 </dev/null
}

# The plain names come after the versions that are tested most.
candidates() {
    [ -z "${PYTHON:-}" ] || printf '%s\n' "$PYTHON"
    printf '%s\n' python3.13 python3.12 python3 python
    for dir in "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.1[2-9]*/bin; do
        printf '%s\n' "$dir/python3"
    done
    printf '%s\n' /opt/homebrew/bin/python3
    if command -v uv >/dev/null 2>&1; then
        uv python find --no-project '>=3.12' 2>/dev/null </dev/null || :
    fi
    printf '%s\n' python3.14
}

find_python() {
    candidates | while IFS= read -r candidate; do
        if fits "$candidate"; then
            printf '%s\n' "$candidate"
            break
        fi
    done
}

tidy() {
    [ -z "$scratch" ] || rm -rf "$scratch"
    # Half an installation is none.
    [ -z "$fresh" ] || rm -rf "$venv"
}

# The environment, with the Python that was found, or one that uv fetches.
make_venv() {
    if [ -f "$venv/pyvenv.cfg" ] && fits "$venv/bin/python"; then
        return
    fi
    [ ! -e "$venv" ] || [ -f "$venv/pyvenv.cfg" ] ||
        fail "$venv is there and is no virtual environment; move it away."
    python=$(find_python)
    if [ -z "$python" ] && ! command -v uv >/dev/null 2>&1; then
        fail "no Python >= 3.12 with venv found, and no uv to fetch one; install one of them (python.org, your package manager, pyenv, uv) or name a Python: PYTHON=/path/to/python3."
    fi
    [ -n "$dry" ] || fresh=yes
    run mkdir -p "$data"
    if [ -n "$python" ]; then
        run "$python" -m venv --clear "$venv" || fail "could not make a virtual environment in $venv."
    else
        run uv venv --quiet --seed --clear --python 3.12 "$venv" ||
            fail "uv could not make a virtual environment in $venv."
    fi
}

# The wheel and the lock in it, beside each other in a folder that goes again.
take_wheel() {
    scratch=$(mktemp -d)
    case $from in
        http://* | https://*)
            "$venv/bin/python" -c '
import shutil, sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=60) as there, open(sys.argv[2], "wb") as here:
    shutil.copyfileobj(there, here)
' "$from" "$scratch/$wheel" || fail "$from could not be fetched." ;;
        *) cp "$from" "$scratch/$wheel" ;;
    esac
    "$venv/bin/python" -c '
import hashlib, pathlib, sys, zipfile
wheel, wanted = pathlib.Path(sys.argv[1]), sys.argv[2].lower()
found = hashlib.sha256(wheel.read_bytes()).hexdigest()
if wanted and found != wanted:
    sys.exit(f"install: {wheel.name} is not what --sha256 says; it has {found}.")
try:
    lock = zipfile.ZipFile(wheel).read("interpose/requirements.lock")
except (zipfile.BadZipFile, KeyError):
    sys.exit(f"install: {wheel.name} is no wheel of Interpose.")
wheel.with_name("requirements.lock").write_bytes(lock)
' "$scratch/$wheel" "$sha256" || exit 1
}

install() {
    if [ -e "$link" ] || [ -L "$link" ]; then
        [ "$(readlink "$link" || :)" = "$venv/bin/interpose" ] ||
            fail "$link is there and was not made by this script; move it away."
    fi
    make_venv
    if [ -n "$wheel" ]; then
        [ -n "$dry" ] || take_wheel
        lock=$scratch/requirements.lock
        package=$scratch/$wheel
        [ -z "$dry" ] || lock="requirements.lock of $wheel" package=$from
    else
        lock=$from/deploy/requirements.lock
        package=$from
    fi
    run "$venv/bin/python" -m pip install --quiet --require-hashes -r "$lock" ||
        fail "pip could not install what Interpose needs (its own message is above)."
    run "$venv/bin/python" -m pip install --quiet --no-index --no-deps --no-build-isolation \
        --force-reinstall "$package" || fail "pip could not install $package (see above)."
    run mkdir -p "$bin"
    run ln -sf "$venv/bin/interpose" "$link"
    [ -z "$dry" ] || exit 0
    "$link" --help >/dev/null || fail "$link does not run."
    fresh=
    say "done: $("$link" --version) in $venv"
    case :${PATH:-}: in
        *:"$bin":*) say 'next: interpose start, then interpose enable' ;;
        *) say "$bin is not on PATH; add it: export PATH=\"$bin:\$PATH\"" ;;
    esac
}

uninstall() {
    if [ "$(readlink "$link" || :)" = "$venv/bin/interpose" ]; then
        run "$link" uninstall ||
            fail "\`interpose uninstall\` failed; nothing was removed."
        run rm "$link"
    fi
    if [ -f "$venv/pyvenv.cfg" ]; then
        run rm -rf "$venv"
        [ -n "$dry" ] || rmdir "$data" 2>/dev/null || :
        say 'the installation is removed'
    else
        say "nothing is installed in $venv"
    fi
}

from=
sha256=
what=install
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry=yes ;;
        --uninstall) what=uninstall ;;
        --find-python) what=find_python ;;
        --sha256) [ $# -gt 1 ] || fail '--sha256 needs a hash.'; sha256=$2; shift ;;
        -h | --help) printf '%s\n' "$usage"; exit 0 ;;
        -*) printf '%s\n' "$usage" >&2; exit 2 ;;
        *) [ -z "$from" ] || { printf '%s\n' "$usage" >&2; exit 2; }; from=$1 ;;
    esac
    shift
done

if [ "$what" = find_python ]; then
    find_python
    exit 0
fi
case $(uname -s) in
    MINGW* | MSYS* | CYGWIN*) fail 'this is for Linux, macOS and WSL; for Windows see docs/deploy.md.' ;;
esac
[ -n "${HOME:-}" ] || fail 'HOME is not set, so there is no folder to install into; set it.'
data=${XDG_DATA_HOME:-$HOME/.local/share}/interpose
venv=$data/venv
bin=$HOME/.local/bin
link=$bin/interpose
trap tidy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ "$what" = install ]; then
    wheel=
    here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P) || here=
    [ -n "$from" ] || from=$here
    case $from in
        *.whl) wheel=${from##*/} ;;
    esac
    case $from in
        http://* | https://*)
            [ -n "$wheel" ] || fail "$from is not the address of a wheel (.whl)."
            [ -n "$sha256" ] || fail 'what comes from an address needs --sha256 HASH, from where you have read of it.' ;;
        *.whl) [ -f "$from" ] || fail "there is no file $from." ;;
        *)
            [ -f "$from/deploy/requirements.lock" ] ||
                fail "${from:-this} is no checkout of Interpose; name one, a wheel, or the address of a wheel (nothing is published yet)."
            [ -z "$sha256" ] || fail '--sha256 is for a wheel; a checkout is what git says it is.'
            from=$(CDPATH='' cd -- "$from" && pwd -P) ;;
    esac
fi
$what
