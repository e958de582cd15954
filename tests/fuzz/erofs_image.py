#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""erofs_image.py KIND IMAGE: a small EROFS image of a kind that mkfs.erofs 1.5 does not write.

Other sizes of blocks, attributes with long prefixes, block numbers of 48 bits, holes, directories
without ".": what newer mkfs.erofs write, and the kernel of this machine judges
(tests/host/erofs-reader.sh). make-bad takes its images from here too: a builder knows where it put
what a lie is to be told about. Source of the format: lib/image/erofs_format.h.

KIND: names joined with "+" of b512 b1024 b4096 b65536 wide dotless plain packed compact nosum.
"""
import struct
import sys

PLAIN, COMPRESSED, INLINE, CHUNKS = 0, 1, 2, 4
DIR, REG, LNK, CHR, FIFO = 0o040000, 0o100000, 0o120000, 0o020000, 0o010000
TYPES = {REG: 1, DIR: 2, CHR: 3, FIFO: 5, LNK: 7}
USER, ACL, TRUSTED, SECURITY, LONG = 1, 2, 4, 6, 0x80
EPOCH = 1600000000


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


def up(value, unit):
    return (value + unit - 1) // unit * unit


class Node:
    """An inode; place is where it was put, tail where what follows its attributes is."""

    def __init__(self, mode, content=b"", layout=INLINE, **more):
        self.mode, self.content, self.layout = mode, content, layout
        self.entries = more.get("entries")
        self.own, self.shared = more.get("own", []), more.get("shared", [])
        self.rdev, self.links = more.get("rdev", 0), more.get("links", 1)
        self.chunk_bits, self.indexes = more.get("chunk_bits", 0), more.get("indexes", False)
        self.hole = more.get("hole", False)
        self.extended = more.get("extended", True)
        self.block, self.place, self.nid, self.tail = 0xFFFFFFFF, 0, 0, 0
        self.stored = b""

    def head(self):
        return 64 if self.extended else 32

    def own_bytes(self):
        out = b""
        for index, name, value in self.own:
            entry = struct.pack("<BBH", len(name), index, len(value)) + name + value
            out += entry.ljust(up(len(entry), 4), b"\0")
        return out

    def xattr_size(self):
        return 12 + 4 * len(self.shared) + len(self.own_bytes()) if self.own or self.shared else 0


class Image:
    def __init__(self, bits, root, features=(), prefixes=(), shared=()):
        self.bits, self.size, self.root = bits, 1 << bits, root
        self.features, self.prefixes, self.shared = features, prefixes, shared
        self.nodes, self.holders = [], {}
        self.collect(root, root)
        self.packed = None
        if "packed" in features:
            self.packed = Node(REG, self.prefix_bytes())
            self.nodes.append(self.packed)
        for node in self.nodes:
            self.measure(node)
        self.data = bytearray(self.size * max(1, 2048 // self.size))
        self.meta_block = len(self.data) // self.size
        self.place_inodes()
        self.place_shared()
        self.place_content()
        for node in self.nodes:
            self.write(node)
        self.write_super()

    def collect(self, node, parent):
        if node in self.nodes:
            return
        self.nodes.append(node)
        self.holders[node] = parent
        for child in (node.entries or {}).values():
            self.collect(child, node)

    def prefix_bytes(self):
        out = b""
        for base, infix in self.prefixes:
            out += struct.pack("<HB", 1 + len(infix), base) + infix
            out = out.ljust(up(len(out), 4), b"\0")
        return out

    def names(self, node):
        names = dict(node.entries)
        names[b".."] = self.holders[node]
        if "dotless" not in self.features:
            names[b"."] = node
        return sorted(names.items())

    def directory(self, node):
        """The content, with whatever numbers the inodes have by now; places of the dirents too."""
        blocks, block, used = [], [], 0
        for name, child in self.names(node):
            if used + 12 + len(name) > self.size:
                blocks.append(block)
                block, used = [], 0
            block.append((name, child))
            used += 12 + len(name)
        blocks.append(block)
        out = b""
        for block in blocks:
            out = out.ljust(up(len(out), self.size), b"\0")
            at, names = 12 * len(block), b""
            for name, child in block:
                out += struct.pack("<QHBB", child.nid, at + len(names), TYPES[child.mode & 0o170000], 0)
                names += name
            out += names
        return out

    def measure(self, node):
        if node.entries is not None:
            node.content = self.directory(node)
            node.links = 2 + sum(1 for n in node.entries.values() if n.entries is not None)
        if node.layout == INLINE and len(node.content) % self.size == 0:
            node.layout = PLAIN
        room = len(node.content) % self.size if node.layout == INLINE else 0
        if node.head() + node.xattr_size() + room > self.size and node.layout == INLINE:
            node.layout = PLAIN

    def tail_bytes(self, node):
        if node.layout == INLINE:
            return len(node.content) % self.size
        if node.layout == CHUNKS:
            unit = 8 if node.indexes else 4
            return unit + unit * self.chunks(node)
        return 0

    def chunks(self, node):
        return up(len(node.content), self.size << node.chunk_bits) // (self.size << node.chunk_bits)

    def place_inodes(self):
        at = len(self.data)
        for node in self.nodes:
            at = up(at, 32)
            start = node.head() + node.xattr_size()
            while node.layout == INLINE and (at + start) % self.size + self.tail_bytes(node) > self.size:
                at += 32
            node.place, node.tail = at, at + start
            node.nid = (at - self.meta_block * self.size) // 32
            at += start + self.tail_bytes(node)
        self.data.extend(bytes(up(at, self.size) - len(self.data)))

    def append(self, content):
        block = len(self.data) // self.size
        self.data += content.ljust(up(len(content), self.size), b"\0")
        return block

    def place_shared(self):
        self.shared_ids, area = [], b""
        for index, name, value in self.shared:
            self.shared_ids.append(len(area) // 4)
            area += struct.pack("<BBH", len(name), index, len(value)) + name + value
            area = area.ljust(up(len(area), 4), b"\0")
        self.xattr_block = self.append(area) if area else 0
        self.prefix_place = 0
        if "plain" in self.features:
            self.prefix_place = self.append(self.prefix_bytes()) * self.size

    def place_content(self):
        for node in self.nodes:
            if node.entries is not None:
                node.content = self.directory(node)
            if node.layout == INLINE:
                whole = len(node.content) // self.size * self.size
                node.stored = node.content[whole:]
                if whole:
                    node.block = self.append(node.content[:whole])
            elif node.layout == CHUNKS:
                node.stored = self.chunk_list(node)
            elif node.content and not node.hole:
                node.block = self.append(node.content)

    def chunk_list(self, node):
        out, step = b"", self.size << node.chunk_bits
        if node.indexes and node.tail % 8:
            out = bytes(4)
        for at in range(0, len(node.content), step):
            piece = node.content[at:at + step]
            block = self.append(piece) if piece.strip(b"\0") else 0xFFFFFFFFFFFF
            if node.indexes:
                high = block >> 32 if "wide" in self.features else 0
                out += struct.pack("<HHI", high, 0, block & 0xFFFFFFFF)
            else:
                out += struct.pack("<I", block & 0xFFFFFFFF)
        return out

    def write(self, node):
        size = node.xattr_size()
        count = (size - 12) // 4 + 1 if size else 0
        form, high = node.extended | node.layout << 1, 0
        if "wide" in self.features and node.hole:
            high = 0xFFFF
        union = node.block
        if node.layout == CHUNKS:
            wide = 0x40 if "wide" in self.features and node.indexes else 0
            union = node.chunk_bits | (0x20 if node.indexes else 0) | wide
        elif node.mode & 0o170000 in (CHR, FIFO):
            union = node.rdev
        if node.entries is not None and "dotless" in self.features:
            form |= 0x10
        if node.extended:
            head = struct.pack("<HHHHQIIIIQII16x", form, count, node.mode, high, len(node.content),
                union, 1, 70000, 80000, EPOCH + 5, 123456789, node.links)
        else:
            links = node.links
            if "wide" in self.features and node.entries is None and links == 1:
                form, links = form | 0x10, high
            head = struct.pack("<HHHHIIIIHHI", form, count, node.mode, links, len(node.content),
                7 if "wide" in self.features else 0, union, 1, 7, 8, 0)
        if size:
            head += struct.pack("<IB7x", 0, len(node.shared))
            for number in node.shared:
                head += struct.pack("<I", self.shared_ids[number])
            head += node.own_bytes()
        head += node.stored
        self.data[node.place:node.place + len(head)] = head

    def write_super(self):
        wide = "wide" in self.features
        incompat = 0x4 | (0x80 if wide else 0)
        compat, start = 0x3, 0
        if "plain" in self.features:
            compat, incompat, start = compat | 0x10, incompat | 0x40, self.prefix_place // 4
        if self.packed:
            incompat |= 0x60
        blocks = len(self.data) // self.size
        self.data[1024:1152] = struct.pack("<IIIBBHQQIIII16s16sIHHHBBIQ8xQ8x", 0xE0F5E1E2, 0, compat,
            self.bits, 0, 0 if wide else self.root.nid, len(self.nodes), EPOCH, 99, blocks,
            self.meta_block, self.xattr_block, b"\x01" * 16, b"", incompat, 0, 0, 0, 0,
            len(self.prefixes), start, self.packed.nid if self.packed else 0,
            self.root.nid if wide else 0)
        if "nosum" in self.features:
            self.data[1032] &= ~1
        else:
            self.sum()

    def sum(self):
        """Make the checksum right."""
        self.data[1028:1032] = bytes(4)
        length = self.size - 1024 if self.size > 1024 else self.size
        struct.pack_into("<I", self.data, 1028, crc32c(self.data[1024:1024 + length]))


def noise(length, seed):
    """Different everywhere, and mostly zeros: the short form of the images stays short."""
    out = bytearray(length)
    for at in range(0, length, 500 if length < 4096 else 4000):
        word = struct.pack("<Q", (at + 1) * seed * 6364136223846793005 % 2 ** 64)
        out[at:at + 8] = word[:length - at]
    return bytes(out)


def build(kind):
    """The image of the tree that all kinds share; .by is its inodes by name."""
    words = kind.split("+")
    bits = next((int(w[1:]).bit_length() - 1 for w in words if w[0] == "b"), 12)
    size, extended = min(1 << bits, 4096), "compact" not in words
    prefixes = [(USER, b"long.prefix."), (TRUSTED, b"overlay.")]
    long = [(LONG, b"name", b"one"), (LONG | 1, b"opaque", b"y")]
    own = [(USER, b"small", b"value"), (SECURITY, b"selinux", b"label\0")]
    if "plain" in words or "packed" in words:
        own += long
    else:
        prefixes = []
    holes = noise(size, 3) + bytes(3 * size) + noise(size // 2, 4) + bytes(size // 2) + noise(99, 5)
    file = Node(REG | 0o644, noise(2 * size + 100, 1), own=own, shared=[0], links=2,
        extended=extended)
    by = {
        "file": file,
        "plain": Node(REG | 0o755, noise(2 * size, 2), extended=extended),
        "chunks": Node(REG | 0o600, holes, CHUNKS, shared=[0, 1]),
        "indexes": Node(REG | 0o600, holes, CHUNKS, indexes=True, own=own[:1]),
        "large-chunks": Node(REG | 0o600, holes, CHUNKS, indexes=True, chunk_bits=1,
            extended=extended),
        "link": Node(LNK | 0o777, b"file", extended=extended, links=2),
        "long-link": Node(LNK | 0o777, b"x" * 600, PLAIN),
        "device": Node(CHR | 0o600, rdev=5 << 8 | 300 & 0xFF | 256 << 12),
        "fifo": Node(FIFO | 0o600, extended=extended),
        "empty": Node(REG | 0o644, b"", PLAIN, extended=extended),
    }
    if "wide" in words:
        by["hole"] = Node(REG | 0o644, bytes(3 * size + 5), PLAIN, hole=True)
        by["compact-hole"] = Node(REG | 0o644, bytes(size), PLAIN, hole=True, extended=False)
    entries = {name.encode(): node for name, node in by.items()}
    by["deep"] = Node(DIR | 0o755, entries={b"linked": file})
    by["sub"] = Node(DIR | 0o750, entries={b"deep": by["deep"]}, extended=extended)
    many = {b"a-name-of-some-length-%02d" % i: Node(REG | 0o644, b"%d" % i, extended=extended)
        for i in range(40)}
    by["dir"] = Node(DIR | 0o755, entries={**many, b"sub": by["sub"], b"!first": by["link"]},
        own=own[:1])
    entries[b"dir"] = by["dir"]
    root = Node(DIR | 0o755, entries=entries, extended=extended)
    image = Image(bits, root, words, prefixes, [(TRUSTED, b"shared", b"s" * 50), (USER, b"too", b"")])
    by["root"] = root
    image.by = by
    return image


if __name__ == "__main__":
    with open(sys.argv[2], "wb") as out:
        out.write(build(sys.argv[1]).data)
