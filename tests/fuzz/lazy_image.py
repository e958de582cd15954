#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""lazy_image KIND OUTPUT: a lazy file of one of the KINDS below, by docs/formats.md alone: not by the
program that is to read it."""
import struct
import sys

BLOCK = 4096
NONE = 0xFFFFFFFF


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


class Lazy:
    """What a lazy file says; each part may be made to lie before bytes() is called."""

    def __init__(self):
        self.magic, self.version, self.form = b"RametLzy", 1, b"squashfs"
        self.image_bytes, self.content_bytes = 64 * BLOCK, None
        self.metadata = b""
        self.extents, self.files, self.folders, self.roots = [], [], [], []
        self.names = b""
        self.after_header = b""
        self.parts, self.sums = {}, {}  # by number: lies about offset and length, and checksums
        self.header_sum = None

    def name(self, text):
        self.names += text + b"\0"
        return len(self.names) - len(text) - 1

    def root(self, path):
        self.roots.append([self.name(path), 0])
        self.folders.append([NONE, len(self.roots) - 1])
        return len(self.folders) - 1

    def folder(self, parent, name):
        self.folders.append([parent, self.name(name)])
        return len(self.folders) - 1

    def file(self, folder, name, size):
        number = len(self.files)
        self.files.append([size, 1000 + number, 1700000000 + number, 5, folder, self.name(name), 0])
        return number

    def extent(self, block, length, offset, file):
        self.extents.append([block * BLOCK, length, offset, file, 0])

    def meta(self, block, data):
        data = data.ljust(-(-len(data) // BLOCK) * BLOCK, b"\0")
        self.extent(block, len(data), BLOCK + len(self.metadata), NONE)
        self.metadata += data

    def bytes(self):
        def table(form, rows):
            return b"".join(struct.pack(form, *row) for row in rows)
        tables = [self.metadata, table("<QQQII", self.extents), table("<QQqIIII", self.files),
            table("<II", self.folders), table("<II", self.roots), self.names]
        body, entries = b"", b""
        for number, data in enumerate(tables):
            offset, length = self.parts.get(number, (BLOCK + len(body), len(data)))
            body += data.ljust(-(-len(data) // BLOCK) * BLOCK, b"\0")
            entries += struct.pack("<QQII", offset, length, self.sums.get(number, crc32c(data)), 0)
        content = self.content_bytes
        if content is None:
            content = sum(extent[1] for extent in self.extents if extent[3] != NONE)
        head = struct.pack("<16sQQ", self.form, self.image_bytes, content) + entries + self.after_header

        def header(checksum):
            start = self.magic + struct.pack("<II", self.version, checksum)
            return (start + head).ljust(BLOCK, b"\0")
        checksum = crc32c(header(0)) if self.header_sum is None else self.header_sum
        return header(checksum) + body


def plain():
    lazy = Lazy()
    root = lazy.root(b"/srv/rootfs")
    usr = lazy.folder(root, b"usr")
    lazy.meta(0, b"superblock")
    lazy.extent(1, 5000, 0, lazy.file(root, b"init", 5000))
    lazy.extent(4, 3 * BLOCK, 2 * BLOCK, lazy.file(usr, b"env", 5 * BLOCK))
    lazy.meta(60, b"tables" * 1000)
    return lazy


def empty():
    lazy = Lazy()
    lazy.meta(0, b"superblock")
    return lazy


def nothing():
    lazy = Lazy()
    lazy.form, lazy.image_bytes = b"ext4", 0
    return lazy


def roots():
    lazy = Lazy()
    lazy.form = b"erofs"
    at = 1
    lazy.meta(0, b"superblock")
    for path in (b"/a", b"/b/c", b"/"):
        folder = lazy.root(path)
        for depth in range(4):
            folder = lazy.folder(folder, b"d%d" % depth)
            lazy.extent(at, 100, 0, lazy.file(folder, b"\xff name\n", 100))
            at += 1
    return lazy


KINDS = {"plain": plain, "empty": empty, "nothing": nothing, "roots": roots}

if __name__ == "__main__":
    with open(sys.argv[2], "wb") as output:
        output.write(KINDS[sys.argv[1]]().bytes())
