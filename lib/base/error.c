/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 2, 0))) static void format_into(
	struct ramet_error *err, const char *format, va_list args)
{
	if (vsnprintf(err->message, sizeof err->message, format, args) < 0)
		err->message[0] = '\0';
}

int error_set(struct ramet_error *err, int code, const char *format, ...)
{
	if (err) {
		va_list args;
		va_start(args, format);
		format_into(err, format, args);
		va_end(args);
		err->code = code;
	}
	return -code;
}

int error_errno(struct ramet_error *err, int code, const char *format, ...)
{
	if (err) {
		va_list args;
		va_start(args, format);
		format_into(err, format, args);
		va_end(args);
		err->code = code;
		size_t used = strlen(err->message);
		char text[128];
		snprintf(err->message + used, sizeof err->message - used, ": %s",
			strerror_r(code, text, sizeof text));
	}
	return -code;
}

int error_prefix(struct ramet_error *err, int result, const char *format, ...)
{
	if (!err)
		return result;
	char rest[sizeof err->message];
	memcpy(rest, err->message, sizeof rest);
	va_list args;
	va_start(args, format);
	format_into(err, format, args);
	va_end(args);
	size_t used = strlen(err->message);
	/* Where both do not fit, the end of the sentence is what is lost. */
	int n = snprintf(err->message + used, sizeof err->message - used, ": %s", rest);
	(void)n;
	return result;
}
