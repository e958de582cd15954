/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form is that of the OCI image specification's image-layout.md: oci-layout says the version,
 * index.json is where to begin, blobs/ALGORITHM/HEX holds everything else.
 */
#include "source/oci_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"

static int open_regular(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	if (fd < 0)
		return -errno;
	int r = fstat(fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -EINVAL;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

static int open_failed(const char *name, int code, struct ramet_error *err)
{
	if (code == ELOOP)
		return error_set(err, ELOOP, "%s is a symbolic link, which is not followed", name);
	if (code == EINVAL)
		return error_set(err, EINVAL, "%s is not a regular file", name);
	return error_errno(err, code, "cannot open %s", name);
}

int oci_layout_read(const struct oci_layout *layout, const char *file, char **text, size_t *length,
	struct ramet_error *err)
{
	_cleanup_text_ struct text name = {0};
	text_format(&name, "%s/%s", layout->place, file);
	if (name.failed)
		return error_memory(err);
	_cleanup_close_ int fd = open_regular(layout->dirfd, file);
	if (fd < 0)
		return open_failed(name.data, -fd, err);
	_cleanup_free_ char *buffer = malloc(DOCUMENT_BYTES_MAX + 1);
	if (!buffer)
		return error_memory(err);
	ssize_t n = read_full(fd, buffer, DOCUMENT_BYTES_MAX + 1);
	if (n < 0)
		return error_errno(err, (int)-n, "cannot read %s", name.data);
	if ((size_t)n > DOCUMENT_BYTES_MAX)
		return error_set(err, E2BIG, "%s has more than %zu bytes; a description has fewer",
			name.data, DOCUMENT_BYTES_MAX);
	*length = (size_t)n;
	*text = TAKE_PTR(buffer);
	return 0;
}

int oci_layout_open(struct oci_layout *layout, const char *place, struct ramet_error *err)
{
	layout->place = strdup(place);
	if (!layout->place)
		return error_memory(err);
	layout->dirfd = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (layout->dirfd < 0)
		return error_errno(err, errno, "cannot open %s", place);
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r = oci_layout_read(layout, "oci-layout", &text, &length, err);
	if (r == -ENOENT)
		return error_set(err, EBADMSG,
			"%s is no OCI image layout: there is no file oci-layout in it", place);
	_cleanup_text_ struct text name = {0};
	text_format(&name, "%s/oci-layout", place);
	if (name.failed)
		return error_memory(err);
	return r < 0 ? r : oci_layout_check(name.data, text, length, err);
}

void oci_layout_close(struct oci_layout *layout)
{
	cleanup_close(&layout->dirfd);
	layout->dirfd = -1;
	free(TAKE_PTR(layout->place));
}

void oci_layout_name(
	const struct oci_layout *layout, const struct digest *digest, struct text *name)
{
	char hex[DIGEST_TEXT_MAX];
	text_format(name, "%s/blobs/%s/%s", layout->place, digest_algorithm(digest),
		digest_hex(digest, hex));
}

int oci_layout_blob(const struct oci_layout *layout, const struct oci_descriptor *descriptor,
	struct ramet_error *err)
{
	static const int how = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	char hex[DIGEST_TEXT_MAX];
	_cleanup_text_ struct text name = {0};
	oci_layout_name(layout, &descriptor->digest, &name);
	if (name.failed)
		return error_memory(err);
	_cleanup_close_ int blobs = openat(layout->dirfd, "blobs", how);
	_cleanup_close_ int folder = blobs < 0
					     ? -1
					     : openat(blobs, digest_algorithm(&descriptor->digest),
						       how);
	if (folder < 0)
		return open_failed(name.data, errno, err);
	_cleanup_close_ int fd = open_regular(folder, digest_hex(&descriptor->digest, hex));
	if (fd < 0)
		return open_failed(name.data, -fd, err);
	struct stat st;
	if (fstat(fd, &st) < 0)
		return error_errno(err, errno, "cannot look at %s", name.data);
	if ((uint64_t)st.st_size != descriptor->size)
		return error_set(err, EBADMSG, "%s has %lld bytes and should have %llu", name.data,
			(long long)st.st_size, (unsigned long long)descriptor->size);
	return TAKE_FD(fd);
}

static int verify(const char *text, const struct oci_descriptor *descriptor, const char *name,
	struct ramet_error *err)
{
	struct digest_context context;
	struct digest is;
	char word[DIGEST_TEXT_MAX];
	digest_begin(&context, descriptor->digest.kind);
	digest_update(&context, text, descriptor->size);
	digest_end(&context, &is);
	return digest_equal(&is, &descriptor->digest)
		       ? 0
		       : error_set(err, EBADMSG, "%s is damaged: its digest is %s", name,
				 digest_text(&is, word));
}

int oci_layout_read_blob(const struct oci_layout *layout, const struct oci_descriptor *descriptor,
	char **text, struct ramet_error *err)
{
	_cleanup_text_ struct text name = {0};
	oci_layout_name(layout, &descriptor->digest, &name);
	if (name.failed)
		return error_memory(err);
	if (descriptor->size > DOCUMENT_BYTES_MAX)
		return error_set(err, E2BIG, "%s has %llu bytes; a description has %zu at most",
			name.data, (unsigned long long)descriptor->size, DOCUMENT_BYTES_MAX);
	_cleanup_close_ int fd = oci_layout_blob(layout, descriptor, err);
	if (fd < 0)
		return fd;
	_cleanup_free_ char *buffer = malloc(descriptor->size + 1);
	if (!buffer)
		return error_memory(err);
	ssize_t n = read_full(fd, buffer, descriptor->size);
	if (n < 0 || (uint64_t)n < descriptor->size)
		return error_errno(err, n < 0 ? (int)-n : EIO, "cannot read %s", name.data);
	int r = verify(buffer, descriptor, name.data, err);
	if (r == 0)
		*text = TAKE_PTR(buffer);
	return r;
}
