#!/bin/sh
# embed.sh PROGRAM OUTPUT.c: the program's bytes as a C array (see program.h).
set -eu
{
  echo '#include "init/program.h"'
  echo 'const unsigned char init_program[] = {'
  od -An -v -tx1 "$1" | sed 's/ \(..\)/0x\1,/g'
  echo '};'
  echo 'const size_t init_program_size = sizeof init_program;'
} > "$2"
