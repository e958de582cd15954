/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digest is made while the disk takes the image in: both only read it, and the bytes are still in
 * the page cache. Zeros go through the sum as any bytes do, so an image that is nearly all holes is
 * left without.
 */
#include "api/publish.h"

#include <pthread.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file_digest.h"

#define HOLES_MAX ((uint64_t)1 << 30)

struct digesting {
	int fd;
	char *digest;
};

static void *make_digest(void *ctx)
{
	const struct digesting *work = ctx;
	/* Without one the image is as good; `verify` makes it. */
	if (file_digest(work->fd, work->digest) < 0)
		work->digest[0] = '\0';
	return NULL;
}

static bool is_worth_a_digest(int fd)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return false;
	uint64_t length = (uint64_t)st.st_size, taken = (uint64_t)st.st_blocks * 512;
	return length < taken || length - taken <= HOLES_MAX;
}

int publish_image(
	struct outfile *output, struct ramet_build_result *result, struct ramet_error *err)
{
	pthread_t thread;
	struct stat st;
	struct digesting work = {output->fd, result->digest};
	result->digest[0] = '\0';
	bool started = is_worth_a_digest(output->fd) &&
		       pthread_create(&thread, NULL, make_digest, &work) == 0;
	int r = outfile_publish(output, err);
	if (started)
		pthread_join(thread, NULL);
	if (r == 0 && fstat(output->fd, &st) == 0)
		result->bytes_written = MIN((uint64_t)st.st_blocks * 512, result->image_bytes);
	return r;
}
