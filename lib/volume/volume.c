/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/text.h"

const struct volume_provider *const volume_providers[] = {
	&volume_reflink,
	&volume_file,
	NULL,
};

const struct volume_provider *volume_provider_find(const char *name)
{
	for (size_t i = 0; volume_providers[i]; i++)
		if (strcmp(volume_providers[i]->name, name) == 0)
			return volume_providers[i];
	return NULL;
}

static int choose_named(const char *name, const struct volume_place *place,
	const struct volume_base *base, uint64_t size, const struct volume_provider **provider,
	char reason[static VOLUME_REASON_SIZE], struct ramet_error *err)
{
	*provider = volume_provider_find(name);
	if (!*provider) {
		_cleanup_text_ struct text known = {0};
		for (size_t i = 0; volume_providers[i]; i++)
			text_format(&known, ", %s", volume_providers[i]->name);
		return error_set(err, EINVAL, "there is no provider '%s'; there are auto%s", name,
			known.data ? known.data : "");
	}
	char why[VOLUME_REASON_SIZE];
	if (!(*provider)->probe(place, base, size, why))
		return error_set(err, EOPNOTSUPP,
			"the provider %s cannot serve a fork of %s: %s; --provider auto takes one "
			"that can",
			name, base->path, why);
	snprintf(reason, VOLUME_REASON_SIZE, "%s was asked for", name);
	return 0;
}

int volume_choose(const char *name, const struct volume_place *place,
	const struct volume_base *base, uint64_t size, const struct volume_provider **provider,
	char reason[static VOLUME_REASON_SIZE], struct ramet_error *err)
{
	if (name && strcmp(name, "auto") != 0)
		return choose_named(name, place, base, size, provider, reason, err);
	_cleanup_text_ struct text ruled_out = {0};
	for (size_t i = 0; volume_providers[i]; i++) {
		char why[VOLUME_REASON_SIZE];
		*provider = volume_providers[i];
		if ((*provider)->probe(place, base, size, why)) {
			snprintf(reason, VOLUME_REASON_SIZE, "auto: %.*s", VOLUME_REASON_SIZE - 8,
				ruled_out.data ? ruled_out.data : why);
			return 0;
		}
		text_format(&ruled_out, "%sno %s, as %s", ruled_out.length ? "; " : "",
			(*provider)->name, why);
	}
	return error_set(err, EOPNOTSUPP, "no provider can serve a fork of %s: %s", base->path,
		ruled_out.data ? ruled_out.data : "");
}

int volume_file_create(int folder, const char *name, struct ramet_error *err)
{
	int fd = openat(folder, "volume", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd >= 0 ? fd : error_errno(err, errno, "cannot make the volume of fork %s", name);
}

/* The longest file that the filesystem takes, found by asking it. */
static uint64_t longest_file(int fd)
{
	uint64_t good = 0, bad = (uint64_t)INT64_MAX;
	while (bad - good > 1) {
		uint64_t middle = good + (bad - good) / 2;
		if (ftruncate(fd, (off_t)middle) == 0)
			good = middle;
		else
			bad = middle;
	}
	return good;
}

int volume_file_set_size(int fd, const char *name, uint64_t size, struct ramet_error *err)
{
	if (ftruncate(fd, (off_t)size) == 0)
		return 0;
	int code = errno;
	char wanted[32], limit[32];
	if (code != EFBIG && code != EINVAL)
		return error_errno(err, code, "cannot make a volume of %s for fork %s",
			text_size(size, wanted), name);
	return error_set(err, EFBIG,
		"cannot make a volume of %s for fork %s: on the file system of the store a file has "
		"at most %s; choose a smaller size or a store elsewhere",
		text_size(size, wanted), name, text_size(longest_file(fd), limit));
}

int volume_file_finish(const struct volume_batch *batch, int fd, const char *name, int result,
	struct ramet_error *err)
{
	if (result == 0 && batch->sync_each && fsync(fd) < 0)
		result = -errno;
	return result < 0 ? error_errno(err, -result, "cannot write the volume of fork %s", name)
			  : 0;
}

int volume_file_allocated(int folder, uint64_t *bytes)
{
	struct stat st;
	if (fstatat(folder, "volume", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	*bytes = (uint64_t)st.st_blocks * 512;
	return 0;
}
