# shellcheck shell=sh
# What the two benchmarks of ramet build share. Figures go to standard output, one a line.
RAMET=${RAMET:-ramet}
cache=${RAMET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ramet}
tree=${1:-}
if [ -z "$tree" ]; then
  tree=/usr
  [ -d "$cache/root-large/usr" ] && tree=$cache/root-large
fi
scratch=$(mktemp -d "${TMPDIR:-/tmp}/ramet-bench.XXXXXX")
RAMET_ROOT=$scratch/store
export RAMET_ROOT
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM HUP

need() {
  command -v "$1" > /dev/null 2>&1 || { echo "skipped: $1 is missing"; exit 0; }
}
now() { date +%s.%N; }
median() { sort -g | awk '{a[NR] = $1} END {print (NR % 2) ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2}'; }
seconds() {
  began=$(now)
  "$1" > "$scratch/out" 2>&1 || { cat "$scratch/out" >&2; exit 1; }
  echo "$(now) $began" | awk '{print $1 - $2}'
}
# verdict RATIO MOST
verdict() { awk -v r="$1" -v m="$2" 'BEGIN {print (r <= m) ? "reached" : "MISSED"}'; }
# pairs RIVAL MOST: ours and the rival in turn; the median of the pairs' ratios.
pairs() {
  echo "tree             $tree: $(find "$tree" | wc -l) entries, $(du -sh "$tree" | cut -f1)"
  seconds ours > /dev/null # the page cache is warm for both
  : > "$scratch/pairs"
  run=0
  while [ $run -lt "${RUNS:-5}" ]; do
    echo "$(seconds ours) $(seconds rival)" >> "$scratch/pairs"
    run=$((run + 1))
  done
  result=$(awk '{print $1 / $2}' "$scratch/pairs" | median)
  echo "wall time        $(awk '{print $1}' "$scratch/pairs" | median) s (ours)," \
    "$(awk '{print $2}' "$scratch/pairs" | median) s ($1)"
  echo "ratio            $result (at most $2: $(verdict "$result" "$2"))"
}
blocks="" # of the rival's device, where it has one
# peak FUNCTION: the largest resident memory of the program it runs, in KiB.
peak() {
  measured=$1
  program() { command time -f %M -o "$scratch/peak" "$@"; }
  case $measured in
    ours) program "$RAMET" build "$tree" "$scratch/ours" --format "$(basename "$0" | sed 's/build-//')" > "$scratch/out" 2>&1 ;;
    *) rm -f "$scratch/rival" && program mke2fs -q -t ext4 -m 0 -d "$tree" "$scratch/rival" "$blocks" > "$scratch/out" 2>&1 ;;
  esac
  tail -n 1 "$scratch/peak"
}
# limit NAME VALUE MOST UNIT
limit() { echo "$1      $2 $4 (at most $3: $(verdict "$2" "$3"))"; }
# ratio NAME OURS RIVAL MOST
ratio() {
  result=$(awk -v a="$2" -v b="$3" 'BEGIN {print a / b}')
  echo "$1 ratio       $result (at most $4: $(verdict "$result" "$4"))"
}
