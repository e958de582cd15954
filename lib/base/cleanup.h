/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership: what goes out of scope is released; TAKE_* hands it on. */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

/* Closing never disturbs the errno that an error path is about to report. */
static inline void cleanup_close(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		close(*fd);
		errno = saved;
	}
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define _cleanup_free_   _cleanup_(cleanup_free)
#define _cleanup_close_  _cleanup_(cleanup_close)
#define _cleanup_fclose_ _cleanup_(cleanup_fclose)

#define TAKE_PTR(p) \
	({ \
		__typeof__(p) *take_ = &(p); \
		__typeof__(p) taken_ = *take_; \
		*take_ = NULL; \
		taken_; \
	})
#define TAKE_FD(fd) \
	({ \
		int *take_ = &(fd); \
		int taken_ = *take_; \
		*take_ = -EBADF; \
		taken_; \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)     ((a) < (b) ? (a) : (b))
#define MAX(a, b)     ((a) > (b) ? (a) : (b))

#endif
