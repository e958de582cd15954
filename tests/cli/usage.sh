#!/bin/sh
# What the command line says to someone who mistypes, and to someone who asks.
. "$(dirname "$0")/lib.sh"

refused "an option before the command is told where it belongs" 2 "behind the command: 'ramet COMMAND --root'" "$RAMET" --root dir ls
refused "an unknown command is refused by name" 2 "no command 'frok'.*ramet help" "$RAMET" frok
refused "an unknown option is refused by name" 2 "no option --frok.*--help" "$RAMET" help --frok
refused "a short option is refused by name" 2 "no option -x" "$RAMET" help -x
refused "a word too many is named" 2 "'two' is one word too many" "$RAMET" help one two
refused "a flag with a value is refused" 2 "--json takes no value" "$RAMET" ls --json=yes
refused "also one of no command's own" 2 "--help takes no value" "$RAMET" ls --help=yes
refused "an option that a command has not is refused" 2 "no option --json" "$RAMET" help --json=yes
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

# Every command answers --help with its usage, and needs no store for it; it has a manual page that
# knows the same options, which completion knows too; and it refuses a wrong use in one sentence.
commands=$("$RAMET" help | sed -n 's/^  \([a-z]*\)  *[A-Z].*/\1/p')
"$RAMET" completion > "$scratch/completion"
options_of_help() {
  "$RAMET" "$1" --help | sed -n '/^Options:/,/^$/p' | grep -oE '^  (-[a-z], )?--[a-z-]+' |
    grep -oE -e '--[a-z-]+' | grep -vx -e --help | sort
}
options_of_page() {
  sed -n '/^# OPTIONS/,/^# [^O]/p' "$page" | grep '^\*-' | grep -oE '\*--[a-z-]+\*' | tr -d '*' | sort
}
same_options() {
  [ -f "$page" ] && options_of_help "$1" > "$scratch/in-help" && options_of_page > "$scratch/in-page"
  diff "$scratch/in-help" "$scratch/in-page"
}
completed() {
  grep -q "compgen -W '[^']*\b$1\b" "$scratch/completion" || return 1
  for option in $(options_of_help "$1") --help; do
    grep "^	$1:-\*) " "$scratch/completion" | grep -q -e " ${option}[ ']" || { echo "$option"; return 1; }
  done
}
sections() {
  for section in NAME SYNOPSIS DESCRIPTION "EXIT STATUS" EXAMPLES "SEE ALSO"; do
    grep -qx "# $section" "$page" || { echo "no $section"; return 1; }
  done
  grep -q "\*ramet-$1\*(1)" "$SOURCE_ROOT/man/ramet.1.scd" && grep -qE "ramet $1\b|\`$1\`" "$SOURCE_ROOT/CHANGELOG.md"
}
for command in $commands; do
  page=$SOURCE_ROOT/man/ramet-$command.1.scd
  RAMET_ROOT=/proc/none check "$command --help shows its usage" \
    sh -c '"$RAMET" "$0" --help | grep -q "^Usage: ramet $0"' "$command"
  check "$command: its page has the options of its help, and no other" same_options "$command"
  check "$command: its page says all that pages say, and is found" sections "$command"
  check "$command: it and its options are completed" completed "$command"
  refused "$command: an option that is none" 2 "^ramet $command: there is no option --none; .*--help" \
    "$RAMET" "$command" --none
  case $command in
    detach) needs="name forks" ;;
    ls | doctor | help | completion) continue ;;
    *) needs="it needs [[A-Z]" ;;
  esac
  refused "$command: without what it is about" 2 "^ramet $command: $needs.*--help" "$RAMET" "$command"
done
refused "ls: two images" 2 "one word too many" "$RAMET" ls a b
refused "doctor: a word" 2 "one word too many" "$RAMET" doctor a
refused "completion: a word" 2 "one word too many" "$RAMET" completion a

# What a stranger finds: every bench is in its document, and says what it compares.
for bench in "$SOURCE_ROOT"/bench/*; do
  name=$(basename "$bench")
  case $name in *.sh) continue ;; esac
  check "bench $name is in the document of figures" grep -qE "(BENCH=|bench/)$name\b" "$SOURCE_ROOT/docs/benchmarks.md"
done
finish
