# Shared by tools/quickstart, tools/test and .ci/run. Source it after `set -euo pipefail`.
# shellcheck shell=bash disable=SC2164,SC2034  # callers set -e; some names are for callers

HONE_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
HONE_BUILD=$HONE_ROOT/build
HONE_JOBS=${HONE_JOBS:-$(nproc)}

say() { printf '%s\n' "$*"; }
die() {
  printf '%s\n' "$*" >&2
  exit 1
}

# Seconds since an earlier value of SECONDS, as a person writes them.
elapsed() { printf '%d s' $((SECONDS - $1)); }

# Packages of Debian and Ubuntu: what the command line program needs, what the tests add, what the slow tier adds.
PACKAGES_CLI=(g++ cmake ninja-build libfmt-dev nlohmann-json3-dev libpcre2-dev libutf8proc-dev libxxhash-dev
  libcli11-dev libyaml-cpp-dev)
PACKAGES_TEST=("${PACKAGES_CLI[@]}" python3 doctest-dev libboost-context-dev)
PACKAGES_SLOW=("${PACKAGES_TEST[@]}" clang clang-format libclang-rt-14-dev g++-aarch64-linux-gnu qemu-user shellcheck gdb)

missing_packages() {
  local name
  for name in "$@"; do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || say "$name"
  done
}

# Installs those of the named packages that are not there. Asks first on a terminal; elsewhere, and with CI=true, does not.
install_packages() {
  local missing as_root=()
  if ! command -v apt-get >/dev/null; then
    say "packages: no apt-get here; CMake takes what is installed and fetches pinned versions of the rest"
    return 0
  fi
  mapfile -t missing < <(missing_packages "$@")
  if ((${#missing[@]} == 0)); then
    say "packages: all there"
    return 0
  fi
  say "packages: to install: ${missing[*]}"
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "packages: run this as root, or install them yourself: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  if [[ -t 0 && ${CI:-} != true ]]; then
    local answer
    read -r -p "Install them with apt-get? [Y/n] " answer
    [[ -z $answer || $answer == [yY]* ]] || die "packages: not installed; nothing was changed"
  fi
  local log
  log=$(mktemp)
  if ! { "${as_root[@]}" apt-get -q update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1; then
    tail -n 30 "$log"
    rm -f "$log"
    die "packages: apt-get failed (its last lines stand above)"
  fi
  rm -f "$log"
}

# configure FOLDER [CMake arguments]: always into a folder under build/; quick when nothing changed.
configure() {
  local folder=$1
  shift
  local generator=()
  [[ -f $folder/CMakeCache.txt ]] || generator=(-G Ninja)
  cmake -S "$HONE_ROOT" -B "$folder" "${generator[@]}" "$@"
}

# build FOLDER TARGET...
build() {
  local folder=$1
  shift
  cmake --build "$folder" --parallel "$HONE_JOBS" --target "$@"
}
