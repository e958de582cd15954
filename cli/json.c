/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/materializing.h"

/* The length of the UTF-8 character at text, 0 when there is none (RFC 3629; jansson is the judge
 * of the rest: surrogates, overlong forms). */
static size_t character_length(const char *text)
{
	unsigned char first = (unsigned char)*text;
	size_t length = first < 0x80   ? 1
			: first < 0xc2 ? 0
			: first < 0xe0 ? 2
			: first < 0xf0 ? 3
				       : 4;
	if (strnlen(text, length) < length)
		return 0;
	json_t *character = json_stringn(text, length);
	json_decref(character);
	return character ? length : 0;
}

json_t *cli_json_string(const char *bytes)
{
	json_t *whole = json_string(bytes);
	if (whole || !bytes)
		return whole;
	char *text = malloc(strlen(bytes) * 3 + 1), *end = text;
	if (!text)
		return NULL;
	while (*bytes) {
		size_t length = character_length(bytes);
		memcpy(end, length ? bytes : "\xef\xbf\xbd", length ? length : 3);
		end += length ? length : 3;
		bytes += length ? length : 1;
	}
	*end = '\0';
	whole = json_string(text);
	free(text);
	return whole;
}

/* "PATH\nPATH": an array of paths. */
static json_t *path_array(const char *lines)
{
	json_t *array = json_array();
	while (*lines) {
		size_t length = strcspn(lines, "\n");
		char *line = strndup(lines, length);
		if (length)
			json_array_append_new(array, cli_json_string(line));
		free(line);
		lines += length + (lines[length] != '\0');
	}
	return array;
}

json_t *cli_json_process(const char *process)
{
	json_t *object = json_loads(process, 0, NULL);
	return object ? object : json_null();
}

static json_t *string_or_null(const char *text)
{
	return text ? cli_json_string(text) : json_null();
}

static json_t *layer_array(const struct ramet_fork_info *info)
{
	json_t *array = json_array();
	for (size_t i = 0; i < info->layer_count; i++)
		json_array_append_new(array,
			json_pack("{s:o, s:s, s:s, s:b, s:o, s:o}", "path",
				cli_json_string(info->layers[i].path), "format",
				info->layers[i].format, "state", info->layers[i].state, "lazy",
				info->layers[i].lazy, "materialized",
				string_or_null(info->layers[i].materialized), "materializing",
				cli_json_materializing(info->layers[i].materializing)));
	return array;
}

json_t *cli_json_fork(const struct ramet_fork_info *info)
{
	return json_pack(
		"{s:s, s:o, s:s, s:b, s:o, s:o, s:s, s:o, s:o, s:o, s:s, s:s, s:o, s:I, s:I, s:I, "
		"s:o}",
		"name", info->name, "base", cli_json_string(info->base), "base_state",
		info->base_state, "base_lazy", info->base_lazy, "base_materialized",
		string_or_null(info->base_materialized), "base_materializing",
		cli_json_materializing(info->base_materializing), "format", info->format, "layers",
		layer_array(info), "read_only_paths", path_array(info->read_only_paths), "process",
		cli_json_process(info->process), "mode", info->mode, "provider", info->provider,
		"volume", cli_json_string(info->volume), "size", (json_int_t)info->size,
		"allocated", (json_int_t)info->allocated, "created", (json_int_t)info->created,
		"holder", info->holder ? json_integer(info->holder) : json_null());
}

int cli_print_json(json_t *value)
{
	if (!value) {
		fprintf(stderr, "ramet: there is not enough memory.\n");
		return EXIT_FAILED;
	}
	json_dumpf(value, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(value);
	return EXIT_OK;
}
