/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration goes through a file in memory. */
#include "api/server_start.h"

#include <errno.h>
#include <sys/mman.h>

#include "api/helper.h"
#include "base/cleanup.h"
#include "base/fd.h"

#define PROGRAM SERVER_PROGRAM

int server_find(struct text *path, struct ramet_error *err)
{
	return helper_find(PROGRAM, path, err);
}

/* The fd, at its beginning. */
static int put_config(const struct server_config *config, struct ramet_error *err)
{
	_cleanup_text_ struct text bytes = {0};
	server_config_write(config, &bytes);
	if (bytes.failed)
		return error_memory(err);
	_cleanup_close_ int fd = memfd_create("ramet-server", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : pwrite_full(fd, bytes.data, bytes.length, 0);
	return r < 0 ? error_errno(err, -r, "cannot configure a server") : TAKE_FD(fd);
}

int server_start(const struct server_config *config, const int *fds, size_t fd_count,
	struct server_answer *answer, struct ramet_error *err)
{
	char number[16];
	VECTOR(int) inherited = {0};
	_cleanup_text_ struct text bytes = {0};
	_cleanup_close_ int given = put_config(config, err);
	if (given < 0)
		return given;
	snprintf(number, sizeof number, "%d", given);
	const char *const arguments[] = {number, NULL};
	int r = 0;
	for (size_t i = 0; i <= fd_count && r == 0; i++) {
		int *fd = vector_push(&inherited);
		if (fd)
			*fd = i < fd_count ? fds[i] : given;
		else
			r = error_memory(err);
	}
	if (r == 0)
		r = helper_start(PROGRAM, arguments, inherited.items, inherited.count, &bytes, err);
	vector_free(&inherited);
	return r < 0 ? r : server_answer_read(bytes.data, bytes.length, answer, err);
}
