/* SPDX-License-Identifier: Apache-2.0 */
/* What was found wrong, in a form that a sandboxed child can hand back as it is. */
#ifndef LOOK_REPORT_H
#define LOOK_REPORT_H

#include <stddef.h>
#include <stdint.h>

enum { REPORT_SIZE = 128 * 1024, REPORT_SENTENCE_MAX = 512 };

/* Start with {0}. */
struct report {
	uint64_t found; /* how many there were; not all need be kept */
	uint32_t kept;
	uint32_t used;
	char text[REPORT_SIZE]; /* path, NUL, sentence, NUL; path, ... */
};

/* path: "" for the image as a whole. A sentence is cut off at REPORT_SENTENCE_MAX. */
void report_add(struct report *report, const char *path, const char *sentence);

/* Each kept finding; whatever the child left in the report, strings end and have no control
 * characters. */
typedef int (*report_fn)(void *ctx, const char *path, const char *sentence);
int report_each(struct report *report, report_fn each, void *ctx);

#endif
