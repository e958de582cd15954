#!/bin/sh
# What the command line says to someone who mistypes, and to someone who asks.
. "$(dirname "$0")/lib.sh"

refused "an unknown command is refused by name" 2 "no command 'frok'.*ramet help" "$RAMET" frok
refused "an unknown option is refused by name" 2 "no option --frok.*--help" "$RAMET" help --frok
refused "a short option is refused by name" 2 "no option -x" "$RAMET" help -x
refused "a word too many is named" 2 "'two' is one word too many" "$RAMET" help one two
refused "a flag with a value is refused" 2 "no option --json" "$RAMET" help --json=yes
refused "words after -- are refused where they mean nothing" 2 "nothing after '--'" "$RAMET" help -- x
refused "help for an unknown command is refused" 2 "no command 'frok'" "$RAMET" help frok

status=0
"$RAMET" > "$scratch/out" 2>&1 || status=$?
[ $status = 2 ] && grep -q '^Usage:' "$scratch/out" && ok "no word at all shows the help, status 2" ||
  not_ok "no word at all shows the help, status 2" "status $status"

check "--version answers" sh -c '"$RAMET" --version | grep -qE "^ramet [0-9]+\.[0-9]+\.[0-9]+$"'
check "the completion script is valid bash" sh -c '"$RAMET" completion | bash -n'
check "full output is an error" sh -c '! "$RAMET" help > /dev/full 2> /dev/null'

# No byte that a terminal obeys comes back, whoever wrote it.
escape=$(printf 'x\033[31m\nb\302\233')
disarmed() {
  disarmed_name="no control character comes back: $1"
  shift
  status=0
  "$RAMET" "$@" > /dev/null 2> "$scratch/err" || status=$?
  if [ $status != 0 ] && grep -q 31m "$scratch/err" && [ "$(wc -l < "$scratch/err")" = 1 ] &&
    ! tr -d '\n' < "$scratch/err" | LC_ALL=C grep -q "$(printf '[\001-\037\177]\|\302\233')"; then
    ok "$disarmed_name"
  else
    not_ok "$disarmed_name" "status $status" "$(od -c "$scratch/err" | head -n 20)"
  fi
}
disarmed "an unknown command" "$escape"
disarmed "a wrong use" help "--$escape"
disarmed "a failure" build "$escape" "$scratch/image"
disarmed "a failure in JSON" build --json "$escape" "$scratch/image"
disarmed "one failure of many" rm "$escape"

# Every command answers --help with its usage, and needs no store for it.
for command in $("$RAMET" help | sed -n 's/^  \([a-z]*\)  *[A-Z].*/\1/p'); do
  RAMET_ROOT=/proc/none check "$command --help shows its usage" \
    sh -c '"$RAMET" "$0" --help | grep -q "^Usage: ramet $0"' "$command"
done
finish
