/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Firecracker starts an ELF kernel (only from 1.17 on a bzImage too), and distributions ship
 * bzImages. The ELF file is inside, compressed, and the boot header says where (the kernel's
 * Documentation/arch/x86/boot.rst): setup_sects at 0x1f1 (0 means 4), the magic "HdrS" at 0x202,
 * the version at 0x206, and from version 2.08 on payload_offset at 0x248, counted from the end of
 * the setup sectors, and payload_length at 0x24c. The last four bytes of the payload are the
 * unpacked size, little endian; for gzip they are part of the stream, for the others they follow
 * it. Which compression it is libarchive finds out.
 */
#include "vmm/kernel.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "vmm/unpack.h"

enum {
	HEADER_SIZE = 0x250,
	SETUP_SECTS = 0x1f1,
	MAGIC = 0x202,
	VERSION = 0x206,
	PAYLOAD_OFFSET = 0x248,
	PAYLOAD_LENGTH = 0x24c,
	PAYLOAD_VERSION = 0x208,
	SECTOR = 512,
	UNPACKED_MAX = 1 << 30,
};

static int kernel_open(const char *path, int *fd, struct stat *st, struct ramet_error *err)
{
	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0 || fstat(*fd, st) < 0)
		return error_errno(err, errno, "cannot open the kernel %s", path);
	if (S_ISDIR(st->st_mode))
		return error_set(err, EISDIR,
			"the kernel %s is a folder; name the vmlinux or vmlinuz file in it", path);
	if (!S_ISREG(st->st_mode))
		return error_set(err, ENOEXEC, "the kernel %s is not a file", path);
	return 0;
}

static bool is_elf_kernel(const uint8_t header[static HEADER_SIZE])
{
	Elf64_Ehdr elf;
	memcpy(&elf, header, sizeof elf);
	return memcmp(elf.e_ident, ELFMAG, SELFMAG) == 0 && elf.e_ident[EI_CLASS] == ELFCLASS64 &&
	       le16toh(elf.e_machine) == EM_X86_64 && le16toh(elf.e_type) == ET_EXEC;
}

static bool is_bzimage(const uint8_t header[static HEADER_SIZE])
{
	return header[0x1fe] == 0x55 && header[0x1ff] == 0xaa &&
	       memcmp(header + MAGIC, "HdrS", 4) == 0;
}

int kernel_identify(const char *path, enum kernel_kind *kind, struct ramet_error *err)
{
	struct stat st;
	_cleanup_close_ int fd = -EBADF;
	int r = kernel_open(path, &fd, &st, err);
	if (r < 0)
		return r;
	uint8_t header[HEADER_SIZE] = {0};
	ssize_t n = pread_full(fd, header, sizeof header, 0);
	if (n < 0)
		return error_errno(err, (int)-n, "cannot read the kernel %s", path);
	if (is_elf_kernel(header))
		*kind = KERNEL_ELF;
	else if (is_bzimage(header))
		*kind = KERNEL_BZIMAGE;
	else
		return error_set(err, ENOEXEC,
			"%s is no kernel for x86-64: neither an ELF vmlinux nor a bzImage "
			"(vmlinuz)",
			path);
	return 0;
}

/* Where the payload is within a file of that size. */
static int payload_find(
	const uint8_t header[static HEADER_SIZE], uint64_t size, uint64_t *offset, uint64_t *length)
{
	uint16_t version;
	uint32_t start, bytes;
	memcpy(&version, header + VERSION, sizeof version);
	memcpy(&start, header + PAYLOAD_OFFSET, sizeof start);
	memcpy(&bytes, header + PAYLOAD_LENGTH, sizeof bytes);
	uint64_t sectors = header[SETUP_SECTS] ? header[SETUP_SECTS] : 4;
	*offset = (sectors + 1) * SECTOR + le32toh(start);
	*length = le32toh(bytes);
	if (!is_bzimage(header) || le16toh(version) < PAYLOAD_VERSION || *length <= 4 ||
		!range_within(*offset, *length, size))
		return -EBADMSG;
	return 0;
}

static bool is_gzip(const uint8_t *payload)
{
	return payload[0] == 0x1f && payload[1] == 0x8b;
}

static int write_piece(void *ctx, const void *bytes, size_t length)
{
	return write_full(*(int *)ctx, bytes, length);
}

/* From the bzImage at fd to the ELF kernel at out, which is looked at in the end. */
static int unpack_file(int fd, uint64_t size, int out, struct ramet_error *err)
{
	uint8_t *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	uint64_t offset, length;
	int r = size < HEADER_SIZE ? -EBADMSG : payload_find(map, size, &offset, &length);
	/* But for gzip, the length of what is unpacked follows the payload and is counted to it. */
	if (r == 0 && !is_gzip(map + offset))
		length -= 4;
	if (r == 0)
		r = unpack(map + offset, length, UNPACKED_MAX, write_piece, &out, err);
	munmap(map, size);
	uint8_t header[HEADER_SIZE] = {0};
	if (r == 0 && (pread_full(out, header, sizeof header, 0) < 0 || !is_elf_kernel(header)))
		r = -EBADMSG;
	return r;
}

int kernel_unpack(const char *path, const char *folder, char **vmlinux, struct ramet_error *err)
{
	struct stat st = {0};
	_cleanup_close_ int fd = -EBADF;
	int r = kernel_open(path, &fd, &st, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *name = NULL;
	if (asprintf(&name, "%s/vmlinux-%jx-%jx-%jx.%09ld", folder, (uintmax_t)st.st_ino,
		    (uintmax_t)st.st_size, (uintmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec) < 0) {
		name = NULL;
		return error_memory(err);
	}
	if (access(name, R_OK) != 0) {
		_cleanup_outfile_ struct outfile out = OUTFILE_NONE;
		r = outfile_open(&out, name, err);
		if (r < 0)
			return r;
		r = unpack_file(fd, (uint64_t)st.st_size, out.fd, err);
		if (r == -ELIBACC)
			return r;
		if (r == -EBADMSG)
			return error_set(err, EBADMSG,
				"the kernel in %s cannot be unpacked: it is damaged, or packed in "
				"an unknown way; give the uncompressed vmlinux",
				path);
		if (r < 0)
			return error_errno(
				err, -r, "cannot unpack the kernel %s into %s", path, name);
		r = outfile_publish(&out, err);
		if (r < 0)
			return r;
	}
	*vmlinux = TAKE_PTR(name);
	return 0;
}
