# Runs named checks one after the other, keeps count, and closes with the line that tools/test promises.
# shellcheck shell=bash disable=SC2164,SC2034  # callers set -e; some names are for callers

CHECK_PASSED=0
CHECK_FAILED=0
CHECK_SKIPPED=0
CHECK_SKIPS=()   # "name: why"
CHECK_FAILS=()
CHECK_TIMES=()   # "seconds name"
CHECK_LOGS=$HONE_BUILD/logs
CHECK_TIER="test"
mkdir -p "$CHECK_LOGS"

# A check calls this to say that it cannot run here, and why; its result counts as skipped.
skip() {
  say "SKIP-CHECK $*"
  exit 77
}

# check NAME FUNCTION [arguments]: runs it in a subshell with its output in build/logs/NAME.log. Counts one.
# A check that counts many itself (the unit tests) writes "passed failed skipped" to $CHECK_COUNTS and its skips, one
# "name: why" a line, to $CHECK_SKIP_LIST.
check() {
  local name=$1 start=$SECONDS code=0
  shift
  local log=$CHECK_LOGS/$CHECK_TIER-$name.log
  CHECK_COUNTS=$CHECK_LOGS/$name.counts
  CHECK_SKIP_LIST=$CHECK_LOGS/$name.skips
  rm -f "$CHECK_COUNTS" "$CHECK_SKIP_LIST"
  say "-- $name"
  # A plain subshell under `||` would run with `set -e` switched off.
  set +e
  (
    set -e
    "$@"
  ) >"$log" 2>&1 </dev/null
  code=$?
  set -e
  CHECK_TIMES+=("$((SECONDS - start)) $name")
  if [[ -f $CHECK_COUNTS ]]; then
    count_many "$name" "$code" "$log"
  elif ((code == 77)); then
    CHECK_SKIPPED=$((CHECK_SKIPPED + 1))
    CHECK_SKIPS+=("$name: $(sed -n 's/^SKIP-CHECK //p' "$log" | tail -n 1)")
    say "   skipped: ${CHECK_SKIPS[-1]}"
    return
  elif ((code == 0)); then
    CHECK_PASSED=$((CHECK_PASSED + 1))
    say "   ok, $(elapsed "$start")"
  else
    CHECK_FAILED=$((CHECK_FAILED + 1))
    CHECK_FAILS+=("$name")
    show_failure "$name" "$start" "$log"
  fi
}

count_many() {
  local name=$1 code=$2 log=$3 passed failed skipped
  read -r passed failed skipped <"$CHECK_COUNTS"
  CHECK_PASSED=$((CHECK_PASSED + passed))
  CHECK_SKIPPED=$((CHECK_SKIPPED + skipped))
  if ((code != 0 && failed == 0)); then
    failed=1
  fi
  CHECK_FAILED=$((CHECK_FAILED + failed))
  if [[ -f $CHECK_SKIP_LIST ]]; then
    local line
    while IFS= read -r line; do
      CHECK_SKIPS+=("$line")
    done <"$CHECK_SKIP_LIST"
  fi
  if ((failed > 0)); then
    CHECK_FAILS+=("$name ($failed)")
    show_failure "$name" "$SECONDS" "$log"
  else
    say "   ok: $passed passed, $skipped skipped"
  fi
}

show_failure() {
  say "   FAILED: $1; the end of ${3#"$HONE_ROOT"/}:"
  tail -n 60 "$3" | sed 's/^/   | /'
}

# The closing lines. The last one is alone and is what .ci/run adds up.
close_checks() {
  local line
  say ""
  say "seconds by stage:"
  printf '  %s\n' "${CHECK_TIMES[@]}" | sort -k1,1nr
  if ((${#CHECK_SKIPS[@]} > 0)); then
    say "skipped:"
    printf '  %s\n' "${CHECK_SKIPS[@]}"
  fi
  if ((${#CHECK_FAILS[@]} > 0)); then
    say "failed:"
    printf '  %s\n' "${CHECK_FAILS[@]}"
  fi
  say "$CHECK_PASSED passed, $CHECK_FAILED failed, $CHECK_SKIPPED skipped"
  ((CHECK_FAILED == 0))
}
