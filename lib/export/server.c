/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strings, each ended by a NUL: a key and its value; "device" begins a device, and what follows is
 * that one's. Numbers are decimal.
 */
#include "export/server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct key {
	const char *name;
	enum { STRING, NUMBER } type;
	size_t offset;
};
#define KEY(type, of, member) \
	{ \
#member, type, offsetof(struct of, member) \
	}

static const struct key config_keys[] = {
	KEY(STRING, server_config, fork),
	KEY(STRING, server_config, kind),
	KEY(NUMBER, server_config, fail_stalled),
	KEY(NUMBER, server_config, stall_ms),
	KEY(NUMBER, server_config, bandwidth),
	KEY(NUMBER, server_config, uid),
	KEY(NUMBER, server_config, gid),
	KEY(NUMBER, server_config, log),
	KEY(NUMBER, server_config, stats),
	KEY(NUMBER, server_config, serial),
	KEY(NUMBER, server_config, life),
};
static const struct key device_keys[] = {
	KEY(STRING, server_device, name),
	KEY(STRING, server_device, path),
	KEY(STRING, server_device, address),
	KEY(STRING, server_device, identity),
	KEY(NUMBER, server_device, fd),
	KEY(NUMBER, server_device, read_only),
	KEY(NUMBER, server_device, lazy),
	KEY(NUMBER, server_device, align),
	KEY(NUMBER, server_device, record),
	KEY(NUMBER, server_device, replay),
};

struct server_device *server_config_add(struct server_config *config)
{
	struct server_device *device = vector_push(&config->devices);
	if (device)
		*device = (struct server_device){.fd = -1, .record = -1, .replay = -1};
	return device;
}

static void free_strings(void *of, const struct key *keys, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (keys[i].type == STRING)
			free(*(char **)((char *)of + keys[i].offset));
}

void server_config_free(struct server_config *config)
{
	for (size_t i = 0; i < config->devices.count; i++) {
		struct server_device *device = &config->devices.items[i];
		vector_free(&device->roots);
		free_strings(device, device_keys, ARRAY_SIZE(device_keys));
	}
	vector_free(&config->devices);
	vector_free(&config->locks);
	free_strings(config, config_keys, ARRAY_SIZE(config_keys));
	*config = (struct server_config)SERVER_CONFIG_NONE;
}

static void put(struct text *out, const char *string)
{
	text_append_bytes(out, string, strlen(string) + 1);
}

static void put_number(struct text *out, int64_t number)
{
	char digits[24];
	snprintf(digits, sizeof digits, "%" PRId64, number);
	put(out, digits);
}

static void write_keys(const void *of, const struct key *keys, size_t count, struct text *out)
{
	for (size_t i = 0; i < count; i++) {
		const void *member = (const char *)of + keys[i].offset;
		put(out, keys[i].name);
		if (keys[i].type == NUMBER)
			put_number(out, *(const int64_t *)member);
		else
			put(out, *(char *const *)member ? *(char *const *)member : "");
	}
}

void server_config_write(const struct server_config *config, struct text *out)
{
	write_keys(config, config_keys, ARRAY_SIZE(config_keys), out);
	for (size_t i = 0; i < config->locks.count; i++) {
		put(out, "lock");
		put_number(out, config->locks.items[i]);
	}
	for (size_t i = 0; i < config->devices.count; i++) {
		const struct server_device *device = &config->devices.items[i];
		put(out, "device");
		put(out, "");
		write_keys(device, device_keys, ARRAY_SIZE(device_keys), out);
		for (size_t root = 0; root < device->roots.count; root++) {
			put(out, "root");
			put_number(out, device->roots.items[root]);
		}
	}
}

/* The next string of those from *at to end; NULL: there is none. */
static const char *next(const char **at, const char *end)
{
	const char *string = *at;
	const char *nul = string < end ? memchr(string, '\0', (size_t)(end - string)) : NULL;
	if (!nul)
		return NULL;
	*at = nul + 1;
	return string;
}

static int take(void *of, const struct key *keys, size_t count, const char *name, const char *value)
{
	for (size_t i = 0; i < count; i++) {
		void *member = (char *)of + keys[i].offset;
		if (strcmp(keys[i].name, name) != 0)
			continue;
		if (keys[i].type == NUMBER) {
			*(int64_t *)member = strtoll(value, NULL, 10);
			return 0;
		}
		free(*(char **)member);
		*(char **)member = strdup(value);
		return *(char **)member ? 0 : -ENOMEM;
	}
	return -EBADMSG;
}

static int take_number(int **items, size_t *count, size_t *capacity, const char *value)
{
	int *number = vector_grow((void **)items, count, capacity, sizeof **items);
	if (number)
		*number = (int)strtol(value, NULL, 10);
	return number ? 0 : -ENOMEM;
}
#define TAKE_NUMBER(v, value) take_number(&(v)->items, &(v)->count, &(v)->capacity, value)

int server_config_read(const char *bytes, size_t length, struct server_config *config)
{
	const char *at = bytes, *end = bytes + length, *name, *value;
	struct server_device *device = NULL;
	int r = 0;
	while (r == 0 && (name = next(&at, end))) {
		value = next(&at, end);
		if (!value)
			return -EBADMSG;
		if (strcmp(name, "device") == 0)
			r = (device = server_config_add(config)) ? 0 : -ENOMEM;
		else if (strcmp(name, "lock") == 0)
			r = TAKE_NUMBER(&config->locks, value);
		else if (!device)
			r = take(config, config_keys, ARRAY_SIZE(config_keys), name, value);
		else if (strcmp(name, "root") == 0)
			r = TAKE_NUMBER(&device->roots, value);
		else
			r = take(device, device_keys, ARRAY_SIZE(device_keys), name, value);
	}
	if (r == 0 && (at != end || !device || !config->kind || !config->fork))
		r = -EBADMSG;
	return r;
}

void server_answer_free(struct server_answer *answer)
{
	for (size_t i = 0; i < answer->addresses.count; i++)
		free(answer->addresses.items[i]);
	vector_free(&answer->addresses);
}

void server_answer_write(pid_t pid, struct text *out)
{
	put(out, "serves");
	put_number(out, pid);
}

void server_answer_write_address(const char *address, struct text *out)
{
	put(out, address);
}

void server_answer_write_failure(int code, const char *sentence, struct text *out)
{
	put(out, "failed");
	put_number(out, code);
	put(out, sentence);
}

int server_answer_read(
	const char *bytes, size_t length, struct server_answer *answer, struct ramet_error *err)
{
	const char *at = bytes, *end = bytes + length;
	const char *word = next(&at, end), *number = word ? next(&at, end) : NULL;
	if (!number)
		return error_set(err, EBADMSG, "the server ended before it could serve");
	long value = strtol(number, NULL, 10);
	const char *string = next(&at, end);
	if (strcmp(word, "serves") != 0)
		return error_set(err, value > 0 ? (int)value : EIO, "%s", string ? string : "");
	answer->pid = (pid_t)value;
	for (; string; string = next(&at, end)) {
		char **address = vector_push(&answer->addresses);
		if (!address || !(*address = strdup(string)))
			return error_memory(err);
	}
	return 0;
}

void server_stats_begin(int64_t serial, struct text *out)
{
	text_format(out, "serial %" PRId64 "\n", serial);
}

/* A line for each device. */
void server_stats_write(const struct server_stats *stats, struct text *out)
{
	text_format(out,
		"%s size %" PRIu64 " reads %" PRIu64 " asked %" PRIu64 " unique %" PRIu64
		" hit %" PRIu64 " ahead %" PRIu64 "\n",
		stats->name, stats->size, stats->reads, stats->asked, stats->unique, stats->hit,
		stats->ahead);
}

size_t server_stats_read(const char *text, int64_t *serial, struct server_stats *stats, size_t most)
{
	size_t count = 0;
	if (sscanf(text, "serial %" SCNd64, serial) == 1) {
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	for (; count < most && *text; count++) {
		struct server_stats *one = &stats[count];
		if (sscanf(text,
			    "%31s size %" SCNu64 " reads %" SCNu64 " asked %" SCNu64
			    " unique %" SCNu64 " hit %" SCNu64 " ahead %" SCNu64,
			    one->name, &one->size, &one->reads, &one->asked, &one->unique,
			    &one->hit, &one->ahead) != 7)
			break;
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	return count;
}
