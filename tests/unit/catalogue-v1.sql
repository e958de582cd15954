-- A catalogue of version 1, made by ramet 0.1 (commit 5d9168c) and written out by sqlite3's .dump:
--   ramet build tree base.squashfs --bind /etc/hostname:/etc/name:ro; ramet build tree base.ext4
--   ramet fork base.squashfs vm --count 2; ramet fork base.ext4 box; ramet fork base.ext4 gone; ramet rm gone
-- .dump leaves out the two PRAGMAs at the end.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT INTO meta VALUES('boot',replace('f227b462-1604-4905-b800-92970c6cf633\n','\n',char(10)));
CREATE TABLE batch(last INTEGER NOT NULL) STRICT;
INSERT INTO batch VALUES(4);
CREATE TABLE image(id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL, format TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, read_only_paths TEXT NOT NULL, created INTEGER NOT NULL, UNIQUE(path, size, mtime_ns, inode)) STRICT;
INSERT INTO image VALUES(1,'/srv/images/base.squashfs','squashfs',4096,1795291697526100657,852720,replace('/etc/name\n','\n',char(10)),1795291697);
INSERT INTO image VALUES(2,'/srv/images/base.ext4','ext4',4726784,1795291697534454904,852731,'',1795291697);
CREATE TABLE fork(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, image INTEGER NOT NULL REFERENCES image(id), mode TEXT NOT NULL, provider TEXT NOT NULL, size INTEGER NOT NULL, created INTEGER NOT NULL, state TEXT NOT NULL CHECK(state IN ('making', 'ready', 'removing')), batch INTEGER NOT NULL) STRICT;
INSERT INTO fork VALUES(1,'vm-1',1,'overlay','file',67108864,1795291697,'ready',1);
INSERT INTO fork VALUES(2,'vm-2',1,'overlay','file',67108864,1795291697,'ready',1);
INSERT INTO fork VALUES(3,'box',2,'overlay','file',67108864,1795291697,'ready',2);
CREATE TABLE removed(name TEXT PRIMARY KEY) STRICT;
INSERT INTO removed VALUES('gone');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('image',2);
INSERT INTO sqlite_sequence VALUES('fork',4);
CREATE INDEX fork_image ON fork(image);
CREATE INDEX fork_unfinished ON fork(batch) WHERE state != 'ready';
COMMIT;
PRAGMA application_id = 1918987636;
PRAGMA user_version = 1;
