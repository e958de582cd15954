/* SPDX-License-Identifier: Apache-2.0 */
/* Errors are sentences: a positive errno and what was being done, to what, why it failed. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <errno.h>
#include <ramet.h>

/* Write the sentence and return -code. err may be NULL. */
int error_set(struct ramet_error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same, with ": " and the system's text for code at the end. */
int error_errno(struct ramet_error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Put "WHAT: " before the sentence that is there; returns result, the failure it was said for. */
int error_prefix(struct ramet_error *err, int result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define error_memory(err) error_set((err), ENOMEM, "there is not enough memory")

#endif
