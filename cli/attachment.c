/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/attachment.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/json.h"

static json_t *device_json(const struct ramet_served_device *device)
{
	json_t *object = json_pack("{s:s, s:o, s:o, s:b, s:b}", "name", device->name, "address",
		cli_json_string(device->address), "file", cli_json_string(device->file),
		"read_only", device->read_only, "lazy", device->lazy);
	if (device->size)
		json_object_update_new(object,
			json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "size",
				(json_int_t)device->size, "reads", (json_int_t)device->reads,
				"bytes_asked", (json_int_t)device->bytes_asked, "bytes_unique",
				(json_int_t)device->bytes_unique, "bytes_hit",
				(json_int_t)device->bytes_hit, "bytes_ahead",
				(json_int_t)device->bytes_ahead));
	if (device->ever.attachments)
		json_object_set_new(object, "ever",
			json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "attachments",
				(json_int_t)device->ever.attachments, "reads",
				(json_int_t)device->ever.reads, "bytes_asked",
				(json_int_t)device->ever.bytes_asked, "bytes_unique",
				(json_int_t)device->ever.bytes_unique, "bytes_hit",
				(json_int_t)device->ever.bytes_hit, "bytes_ahead",
				(json_int_t)device->ever.bytes_ahead));
	return object;
}

/* The log's lines. */
static json_t *lines_json(const char *lines)
{
	json_t *array = json_array();
	while (*lines) {
		size_t length = strcspn(lines, "\n");
		_Bool end = lines[length] == '\0';
		char line[4096];
		snprintf(line, sizeof line, "%.*s", (int)length, lines);
		json_array_append_new(array, cli_json_string(line));
		lines += length + !end;
	}
	return array;
}

json_t *cli_json_attachment(const struct ramet_attachment *attachment)
{
	json_t *devices = json_array();
	for (size_t i = 0; i < attachment->device_count; i++)
		json_array_append_new(devices, device_json(&attachment->devices[i]));
	return json_pack("{s:s, s:s, s:i, s:b, s:o, s:o, s:o}", "fork", attachment->fork, "kind",
		attachment->kind, "pid", attachment->pid, "for_run", attachment->for_run, "devices",
		devices, "log", cli_json_string(attachment->log), "warnings",
		lines_json(attachment->warnings));
}

int source_options_copy(const struct invocation *invocation, const struct string_list *given,
	const char *sources[static SOURCES_MAX + 1])
{
	if (given->count > SOURCES_MAX)
		return cli_usage(invocation, "--source is there more than %d times", SOURCES_MAX);
	for (size_t i = 0; i < given->count; i++)
		sources[i] = given->items[i];
	sources[given->count] = NULL;
	return 0;
}

char *cli_share(uint64_t part, uint64_t whole, char buffer[static 64])
{
	char size[32];
	snprintf(buffer, 64, "%.1f %% of %s", whole ? 100.0 * (double)part / (double)whole : 0.0,
		text_size(whole, size));
	return buffer;
}
