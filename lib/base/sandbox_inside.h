/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of the sandbox share: the one that runs it, and the one that closes it. */
#ifndef BASE_SANDBOX_INSIDE_H
#define BASE_SANDBOX_INSIDE_H

#include <sys/types.h>

#include "base/sandbox.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* libseccomp (2.5) goes round for ever where it gets no memory: it is given a few seconds. */
enum { CONFINE_SECONDS = 3 };

/* In the child: give away everything but out and what the job names. */
int sandbox_enter(const struct sandbox_job *job, int out, pid_t parent, struct ramet_error *err);

#endif
