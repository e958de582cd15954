/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 9112, the parts that a VMM's API uses: a status line, headers, a body with Content-Length.
 * Chunked bodies are refused, as Firecracker never sends them; an answer 204 or 304 has no body
 * whatever its headers say (RFC 9112, 6.3). The other side is a program that a hostile guest may
 * have taken over, so nothing it sends is trusted: every length is bounded before it is used.
 */
#include "vmm/http.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#include "base/checked.h"
#include "base/cleanup.h"

void http_request(struct text *request, const char *method, const char *path, const char *body)
{
	text_format(request, "%s %s HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n",
		method, path);
	if (body)
		text_format(request, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
			strlen(body));
	text_append(request, "\r\n");
	if (body)
		text_append(request, body);
}

/* "HTTP/1.1 204 No Content": the status, or -EBADMSG. */
static int status_parse(const char *line, size_t length)
{
	static const char version[] = "HTTP/1.";
	const size_t prefix = sizeof version - 1;
	if (length < prefix + 5 || memcmp(line, version, prefix) != 0 || line[prefix + 1] != ' ')
		return -EBADMSG;
	const char *digit = line + prefix + 2;
	int status = 0;
	for (int i = 0; i < 3; i++) {
		if (digit[i] < '0' || digit[i] > '9')
			return -EBADMSG;
		status = status * 10 + digit[i] - '0';
	}
	if (length > prefix + 5 && digit[3] != ' ')
		return -EBADMSG;
	return status >= 100 ? status : -EBADMSG;
}

/* The value of a header line called name, without the spaces around it, or NULL. */
static const char *header_value(
	const char *line, size_t length, const char *name, size_t *value_length)
{
	size_t n = strlen(name);
	if (length <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
		return NULL;
	const char *value = line + n + 1, *end = line + length;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*value_length = (size_t)(end - value);
	return value;
}

static int length_parse(const char *value, size_t length, size_t *body_length)
{
	size_t number = 0;
	for (size_t i = 0; i < length; i++) {
		if (value[i] < '0' || value[i] > '9' || !checked_mul(number, 10, &number) ||
			!checked_add(number, value[i] - '0', &number) || number > HTTP_MAX_BODY)
			return -EBADMSG;
	}
	*body_length = number;
	return length ? 0 : -EBADMSG;
}

/* One header line; two lengths that differ are an attempt to be misread. */
static int header_take(const char *line, size_t length, size_t *body_length, bool *has_length)
{
	size_t n, number;
	if (header_value(line, length, "Transfer-Encoding", &n))
		return -EBADMSG;
	const char *value = header_value(line, length, "Content-Length", &n);
	if (!value)
		return memchr(line, ':', length) ? 0 : -EBADMSG;
	if (length_parse(value, n, &number) < 0 || (*has_length && number != *body_length))
		return -EBADMSG;
	*body_length = number;
	*has_length = true;
	return 0;
}

/* One response at data; *used is its whole length. */
static int response_parse(
	const char *data, size_t length, struct http_response *response, size_t *used)
{
	const char *head_end = memmem(data, length, "\r\n\r\n", 4);
	if (!head_end)
		return length > HTTP_MAX_HEAD ? -EBADMSG : 0;
	size_t head = (size_t)(head_end - data) + 2;
	if (head > HTTP_MAX_HEAD || memchr(data, '\0', head))
		return -EBADMSG;
	const char *line = data;
	size_t body_length = 0;
	bool has_length = false;
	while (line < data + head) {
		const char *end = memmem(line, (size_t)(data + head - line), "\r\n", 2);
		size_t n = (size_t)(end - line);
		int r = line == data ? status_parse(line, n)
				     : header_take(line, n, &body_length, &has_length);
		if (r < 0)
			return r;
		if (line == data)
			response->status = r;
		line = end + 2;
	}
	if (response->status < 200 || response->status == 204 || response->status == 304)
		body_length = 0;
	if (length - (head + 2) < body_length)
		return 0;
	response->body = data + head + 2;
	response->body_length = body_length;
	*used = head + 2 + body_length;
	return 1;
}

int http_parse(const char *data, size_t length, struct http_response *response)
{
	for (;;) {
		size_t used = 0;
		*response = (struct http_response){0};
		int r = response_parse(data, length, response, &used);
		if (r != 1 || response->status >= 200)
			return r;
		data += used;
		length -= used;
	}
}

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Wait until fd is ready for events; 0 or the reason why not. */
static int wait_ready(int fd, short events, const struct http_watch *watch, int64_t deadline)
{
	for (;;) {
		struct pollfd fds[] = {{.fd = fd, .events = events},
			{.fd = watch->stop_fd, .events = POLLIN},
			{.fd = watch->ended_fd, .events = POLLIN}};
		int64_t left = deadline - now_ms();
		int n = left > 0 ? poll(fds, 3, (int)left) : 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ETIMEDOUT;
		if (fds[1].revents)
			return -ECANCELED;
		/* What it said before it died is still worth reading. */
		if (fds[0].revents)
			return 0;
		return -ECONNRESET;
	}
}

static int request_send(
	int fd, const struct text *request, const struct http_watch *watch, int64_t deadline)
{
	size_t done = 0;
	while (done < request->length) {
		ssize_t n = send(fd, request->data + done, request->length - done,
			MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			done += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return errno == EPIPE ? -ECONNRESET : -errno;
		int r = wait_ready(fd, POLLOUT, watch, deadline);
		if (r < 0)
			return r;
	}
	return 0;
}

int http_exchange(int fd, const struct text *request, const struct http_watch *watch,
	struct text *answer, struct http_response *response)
{
	int64_t deadline = now_ms() + watch->timeout_ms;
	if (request->failed)
		return -ENOMEM;
	int r = request_send(fd, request, watch, deadline);
	while (r == 0) {
		char buffer[4096];
		r = wait_ready(fd, POLLIN, watch, deadline);
		if (r < 0)
			break;
		ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ECONNRESET;
		text_append_bytes(answer, buffer, (size_t)n);
		if (answer->failed)
			return -ENOMEM;
		r = http_parse(answer->data, answer->length, response);
	}
	return r < 0 ? r : 0;
}
