/* SPDX-License-Identifier: Apache-2.0 */
/* As much of HTTP/1.1 as an API socket needs: one request, one answer, over a connected socket. */
#ifndef VMM_HTTP_H
#define VMM_HTTP_H

#include "base/error.h"
#include "base/text.h"

enum { HTTP_MAX_HEAD = 16384, HTTP_MAX_BODY = 1 << 20 };

/* "PUT /drives/base HTTP/1.1" with its headers and body; body NULL: none. */
void http_request(struct text *request, const char *method, const char *path, const char *body);

struct http_response {
	int status;       /* 100 to 999 */
	const char *body; /* within the parsed bytes, body_length of them, not NUL-terminated */
	size_t body_length;
};

/*
 * Look for a whole response in the first length bytes at data. 1: there is one; 0: more bytes are
 * needed; -EBADMSG: this is no response, or larger than the limits above. An answer of status 1xx
 * is passed over. Pure.
 */
int http_parse(const char *data, size_t length, struct http_response *response);

/* What may end the wait for an answer early; -1 each when there is no such thing. */
struct http_watch {
	int ended_fd;   /* readable: the other side has died -> -ECONNRESET */
	int stop_fd;    /* readable: no longer wanted -> -ECANCELED */
	int timeout_ms; /* for the whole exchange -> -ETIMEDOUT */
};

/* Send the request and wait for the answer; *response points into *answer. Without a sentence:
 * the caller knows what was asked. */
int http_exchange(int fd, const struct text *request, const struct http_watch *watch,
	struct text *answer, struct http_response *response);

#endif
