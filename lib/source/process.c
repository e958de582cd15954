/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limits are those of the guest's init, which has fixed room for a command. What is refused here
 * is refused when the image is built, not at the first boot.
 */
#include "source/process.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void process_builder_free(struct process_builder *builder)
{
	json_decref(builder->args);
	json_decref(builder->env);
	json_decref(builder->groups);
}

static int append(json_t **list, json_t *string)
{
	if (!*list)
		*list = json_array();
	return json_array_append_new(*list, string) < 0 ? -ENOMEM : 0;
}

static int add_string(struct process_builder *builder, json_t **list, const struct field *item,
	struct ramet_error *err)
{
	const char *string = json_string_value(item->value);
	builder->bytes += strlen(string) + 1;
	if (builder->bytes > PROCESS_BYTES_MAX)
		return field_refuse(item, E2BIG, err,
			"makes the default command longer than %d bytes in all", PROCESS_BYTES_MAX);
	return append(list, json_incref(item->value)) < 0 ? error_memory(err) : 0;
}

int process_add_strings(struct process_builder *builder, json_t **list, const struct field *object,
	const char *key, size_t most, struct ramet_error *err)
{
	struct field array, item;
	int r = field_get(object, key, JSON_ARRAY, FIELD_OPTIONAL, &array, err);
	if (r == 0 && json_array_size(*list) + field_count(&array) > most)
		return field_refuse(&array, E2BIG, err,
			"has %zu items; the default command can have %zu", field_count(&array),
			most);
	for (size_t i = 0; r == 0 && i < field_count(&array); i++) {
		r = field_item(&array, i, JSON_STRING, &item, err);
		if (r == 0)
			r = add_string(builder, list, &item, err);
	}
	return r;
}

int process_add_environment(struct process_builder *builder, const struct field *object,
	const char *key, struct ramet_error *err)
{
	struct field array, item;
	int r = field_get(object, key, JSON_ARRAY, FIELD_OPTIONAL, &array, err);
	for (size_t i = 0; r == 0 && i < field_count(&array); i++) {
		r = field_item(&array, i, JSON_STRING, &item, err);
		const char *equals = r == 0 ? strchr(json_string_value(item.value), '=') : NULL;
		if (r == 0 && (!equals || equals == json_string_value(item.value)))
			r = field_refuse(&item, EBADMSG, err, "is not NAME=VALUE");
	}
	return r < 0 ? r
		     : process_add_strings(
			       builder, &builder->env, object, key, PROCESS_ENVIRONMENT_MAX, err);
}

int process_add_group(struct process_builder *builder, uint64_t group)
{
	return append(&builder->groups, json_sprintf("%llu", (unsigned long long)group));
}

int process_set_cwd(struct process_builder *builder, const struct field *object, const char *key,
	struct ramet_error *err)
{
	struct field at;
	int r = field_get(object, key, JSON_STRING, FIELD_OPTIONAL, &at, err);
	if (r < 0 || !at.value)
		return r;
	const char *cwd = json_string_value(at.value);
	if (*cwd && *cwd != '/')
		return field_refuse(&at, EBADMSG, err, "is '%s' and must be an absolute path", cwd);
	if (strlen(cwd) >= 4096)
		return field_refuse(&at, ENAMETOOLONG, err, "is longer than a path can be");
	builder->bytes += strlen(cwd) + 1;
	builder->cwd = *cwd ? cwd : NULL;
	return 0;
}

/* Names of users hold neither white space nor what separates fields in /etc/passwd. */
int process_set_user(struct process_builder *builder, const struct field *where, const char *user,
	struct ramet_error *err)
{
	if (!user || !*user)
		return 0;
	const char *colon = strchr(user, ':');
	bool sound = strlen(user) <= 256 && *user != ':' && !(colon && strchr(colon + 1, ':'));
	for (const char *c = user; *c; c++)
		sound = sound && (unsigned char)*c > ' ' && *c != 127 && *c != ',';
	if (!sound)
		return field_refuse(where, EBADMSG, err,
			"is '%s' and must be USER or USER:GROUP, names or numbers", user);
	builder->bytes += strlen(user) + 1;
	builder->user = user;
	return 0;
}

static bool put(json_t *object, const char *key, json_t *value)
{
	return !value || json_object_set(object, key, value) == 0;
}

static bool put_string(json_t *object, const char *key, const char *value)
{
	return !value || json_object_set_new(object, key, json_string(value)) == 0;
}

int process_write(const struct process_builder *builder, const struct field *where, char **json,
	struct ramet_error *err)
{
	*json = NULL;
	if (builder->bytes > PROCESS_BYTES_MAX)
		return field_refuse(where, E2BIG, err,
			"makes the default command longer than %d bytes in all", PROCESS_BYTES_MAX);
	if (json_array_size(builder->args) && !*json_string_value(json_array_get(builder->args, 0)))
		return field_refuse(
			where, EBADMSG, err, "has a default command without a name of a program");
	json_t *object = json_object();
	bool sound = object && put(object, "args", builder->args) &&
		     put(object, "env", builder->env) && put_string(object, "cwd", builder->cwd) &&
		     put_string(object, "user", builder->user) &&
		     put(object, "groups", builder->groups);
	if (sound && json_object_size(object)) {
		*json = json_dumps(object, JSON_COMPACT);
		sound = *json != NULL;
	}
	json_decref(object);
	return sound ? 0 : error_memory(err);
}
