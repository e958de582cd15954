# shellcheck shell=sh
# A tree with everything in it, and edits of every sort: base_tree DIR, guest_edits DIR.

base_tree() (
  mkdir -p "$1" && cd "$1" || exit 1
  mkdir -p etc bin var/log var/cache/deep/er usr/share/doc usr/share/old home work
  chmod 1777 work
  seq 1 200 > etc/hosts
  seq 1 50000 > etc/large
  echo motd > etc/motd
  echo gone > etc/gone
  echo one > usr/share/doc/a
  echo two > usr/share/doc/b
  echo link > home/target
  ln -s target home/link
  ln home/target home/hard
  ln home/target home/harder
  mkfifo home/fifo
  mknod home/null c 1 3
  head -c 300000 /dev/urandom > bin/tool
  chmod 755 bin/tool
  setcap cap_net_raw+ep bin/tool
  setfattr -n user.keep -v 'a b' etc/motd
  for i in $(seq 1 300); do echo "$i" > "var/cache/$i"; done
  echo x > var/cache/deep/er/x
  echo 'odd' > "home/$(printf 'new\nline')"
  echo 'odd' > "home/$(printf 'raw\377\376')"
  echo 'wh' > home/file-to-folder
  mkdir home/folder-to-file home/folder-to-link home/emptied home/replaced
  touch home/folder-to-file/a home/folder-to-link/b home/emptied/c home/replaced/d home/replaced/e
  find . -depth -exec touch -h -d '2001-02-03 04:05:06.789' {} +
)

guest_edits() (
  cd "$1" || exit 1
  # Copied up or touched, and the same: no change.
  touch etc/motd
  chmod 644 usr/share/doc/a
  printf x >> usr/share/doc/b && truncate -s -1 usr/share/doc/b
  # Modified, each in another way.
  sed -i 's/^77$/seventy-seven/' etc/hosts
  printf 'X' | dd of=etc/large bs=1 seek=200000 conv=notrunc status=none
  chmod 600 var/cache/1
  chown 70000:4000000000 var/cache/2
  setfattr -n user.new -v value var/cache/3
  setfattr -n user.keep -v 'a c' etc/motd
  setcap cap_sys_admin+ep bin/tool
  ln -sfn elsewhere home/link
  truncate -s 100 var/cache/5
  chmod 0711 work
  # Deleted.
  rm etc/gone "var/cache/6" && rm -r usr/share/old
  rm -r var/cache/deep
  rm "home/$(printf 'raw\377\376')"
  # Of another type.
  rm home/file-to-folder && mkdir home/file-to-folder && echo n > home/file-to-folder/n
  rm -r home/folder-to-file && echo f > home/folder-to-file
  rm -r home/folder-to-link && ln -s target home/folder-to-link
  rm home/fifo && echo f > home/fifo
  # Emptied; replaced by one of the same name; a folder in the place of another.
  rm home/emptied/c
  rm -r home/replaced && mkdir home/replaced && touch home/replaced/new
  mv usr/share/doc usr/share/doc2
  # New.
  mkdir -p new/deep/er opt && echo n > new/deep/er/n && ln new/deep/er/n new/hard
  echo sp > 'new/with space' && echo q > 'new/"quoted"' && echo b > 'new/back\slash'
  echo ctl > "new/$(printf 'tab\there\001')"
  echo raw > "new/$(printf 'latin-\351')"
  echo utf > "new/$(printf 'utf-\303\251')"
  touch "new/$(head -c 255 /dev/zero | tr '\0' n)"
  (cd new/deep && for i in 1 2 3; do
    name=$(head -c 200 /dev/zero | tr '\0' "$i"); mkdir "$name" && cd "$name" || exit 1; done; echo far > far)
  mknod new/block b 8 1000 && mkfifo new/fifo && mknod new/zero c 1 5
  touch -d 1965-04-03T02:01:00.25 new/old && touch -d 2100-01-01T00:00:00.5 new/future
  chown 4000000000:99999999 new/old && chmod 6755 new/hard
  printf 'start' > new/sparse && truncate -s 40M new/sparse && printf 'end' >> new/sparse
  truncate -s 10M new/hole
  setfacl -m u:1234:rw new/future 2> /dev/null || true
  head -c 100000 /dev/urandom > new/noise
)
