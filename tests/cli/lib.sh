# shellcheck shell=sh
# For the shell tests: TAP, a private folder and a private store that are gone at the end.
# A test sources this, says `check "what is promised" COMMAND...` (or ok/not_ok/skip), and ends
# with `finish`.
set -u
RAMET=${RAMET:-ramet}
tests=0
failures=0
scratch=$(mktemp -d "${TMPDIR:-/tmp}/ramet-test.XXXXXX")
RAMET_ROOT=$scratch/store
export RAMET_ROOT
# A test that has mounts or processes to undo defines at_exit.
at_exit() { :; }
trap 'at_exit; rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM HUP

ok() {
  tests=$((tests + 1))
  echo "ok $tests - $1"
}
not_ok() {
  tests=$((tests + 1))
  failures=$((failures + 1))
  echo "not ok $tests - $1"
  shift
  for line in "$@"; do echo "$line" | sed 's/^/# /'; done
}
skip() {
  tests=$((tests + 1))
  echo "ok $tests - $1 # SKIP $2"
}
# check NAME COMMAND...: the command succeeds; its output is shown when it does not.
check() {
  check_name=$1
  shift
  if "$@" > "$scratch/.out" 2>&1; then
    ok "$check_name"
  else
    not_ok "$check_name" "status $?: $*" "$(tail -n 20 "$scratch/.out")"
  fi
}
# refused NAME STATUS PATTERN COMMAND...: the command ends with STATUS and says one line that
# matches PATTERN on standard error.
refused() {
  refused_name=$1 refused_status=$2 refused_pattern=$3
  shift 3
  status=0
  "$@" > "$scratch/.out" 2> "$scratch/.err" || status=$?
  if [ "$status" != "$refused_status" ]; then
    not_ok "$refused_name" "status $status, not $refused_status: $*" "$(cat "$scratch/.err")"
  elif [ "$(wc -l < "$scratch/.err")" != 1 ]; then
    not_ok "$refused_name" "not one line: $*" "$(cat "$scratch/.err")"
  elif ! grep -qE -- "$refused_pattern" "$scratch/.err"; then
    not_ok "$refused_name" "no match for '$refused_pattern': $(cat "$scratch/.err")"
  else
    ok "$refused_name"
  fi
}
# need TOOL...: skip the whole file when a tool is missing.
need() {
  for tool in "$@"; do
    command -v "$tool" > /dev/null 2>&1 || { echo "1..0 # SKIP $tool is missing"; exit 0; }
  done
}
finish() {
  echo "1..$tests"
  exit $((failures != 0))
}
