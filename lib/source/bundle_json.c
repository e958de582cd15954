/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json of a bundle, as the OCI runtime specification has it (config.md, config-linux.md). A
 * mount is a bind mount by its type or by an option "bind" or "rbind", as in runc; of "ro" and "rw"
 * the last counts. A destination without a leading slash is taken from the root, as runc does.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source/bundle.h"
#include "source/process.h"

#define MOUNTS_MAX 1000

static int read_options(
	const struct field *item, struct bundle_mount *mount, struct ramet_error *err)
{
	struct field list, option;
	int r = field_get(item, "options", JSON_ARRAY, FIELD_OPTIONAL, &list, err);
	for (size_t i = 0; r == 0 && i < field_count(&list); i++) {
		r = field_item(&list, i, JSON_STRING, &option, err);
		if (r < 0)
			break;
		const char *word = json_string_value(option.value);
		if (strcmp(word, "bind") == 0 || strcmp(word, "rbind") == 0)
			mount->bind = true;
		else if (strcmp(word, "ro") == 0 || strcmp(word, "rro") == 0)
			mount->read_only = true;
		else if (strcmp(word, "rw") == 0)
			mount->read_only = false;
	}
	return r;
}

static int read_mount(const struct field *item, struct bundle_mount *mount, struct ramet_error *err)
{
	*mount = (struct bundle_mount){0};
	int r = field_string(item, "destination", FIELD_NEEDED, &mount->destination, err);
	if (r == 0 && !*mount->destination)
		return field_refuse(item, EBADMSG, err, "has an empty destination");
	if (r == 0)
		r = field_string(item, "type", FIELD_OPTIONAL, &mount->type, err);
	if (r == 0)
		r = field_string(item, "source", FIELD_OPTIONAL, &mount->source, err);
	mount->bind = mount->type && strcmp(mount->type, "bind") == 0;
	if (r == 0)
		r = read_options(item, mount, err);
	if (r == 0 && mount->bind && (!mount->source || !*mount->source))
		return field_refuse(item, EBADMSG, err, "is a bind mount without a source");
	return r;
}

static int read_mounts(
	struct bundle_config *config, const struct field *root, struct ramet_error *err)
{
	struct field list, item;
	int r = field_get(root, "mounts", JSON_ARRAY, FIELD_OPTIONAL, &list, err);
	if (r == 0 && field_count(&list) > MOUNTS_MAX)
		return field_refuse(&list, E2BIG, err, "has %zu items; a bundle can have %d",
			field_count(&list), MOUNTS_MAX);
	for (size_t i = 0; r == 0 && i < field_count(&list); i++) {
		struct bundle_mount *place = vector_push(&config->mounts);
		if (!place)
			return error_memory(err);
		r = field_item(&list, i, JSON_OBJECT, &item, err);
		if (r == 0)
			r = read_mount(&item, place, err);
	}
	return r;
}

static int read_groups(
	const struct field *user, struct process_builder *builder, struct ramet_error *err)
{
	struct field list, item;
	int r = field_get(user, "additionalGids", JSON_ARRAY, FIELD_OPTIONAL, &list, err);
	if (r == 0 && field_count(&list) > PROCESS_GROUPS_MAX)
		return field_refuse(&list, E2BIG, err, "has %zu items; a guest can be told %d",
			field_count(&list), PROCESS_GROUPS_MAX);
	for (size_t i = 0; r == 0 && i < field_count(&list); i++) {
		r = field_item(&list, i, JSON_INTEGER, &item, err);
		if (r < 0)
			break;
		json_int_t group = json_integer_value(item.value);
		if (group < 0 || group >= UINT32_MAX)
			return field_refuse(&item, EBADMSG, err, "is no number of a group");
		if (process_add_group(builder, (uint64_t)group) < 0)
			return error_memory(err);
	}
	return r;
}

/* word: room for "UID:GID". */
static int read_user(const struct field *process, struct process_builder *builder,
	char word[static 32], struct ramet_error *err)
{
	struct field user;
	uint64_t uid = 0, gid = 0;
	int r = field_get(process, "user", JSON_OBJECT, FIELD_OPTIONAL, &user, err);
	if (r < 0 || !user.value)
		return r;
	r = field_uint(&user, "uid", FIELD_OPTIONAL, UINT32_MAX - 1, &uid, err);
	if (r == 0)
		r = field_uint(&user, "gid", FIELD_OPTIONAL, UINT32_MAX - 1, &gid, err);
	if (r == 0)
		r = read_groups(&user, builder, err);
	if (r < 0)
		return r;
	snprintf(word, 32, "%" PRIu64 ":%" PRIu64, uid, gid);
	return process_set_user(builder, &user, word, err);
}

static int read_process(
	struct bundle_config *config, const struct field *root, struct ramet_error *err)
{
	_cleanup_process_builder_ struct process_builder builder = {0};
	struct field process;
	char user[32];
	int r = field_get(root, "process", JSON_OBJECT, FIELD_OPTIONAL, &process, err);
	if (r < 0 || !process.value)
		return r;
	r = process_add_strings(
		&builder, &builder.args, &process, "args", PROCESS_ARGUMENTS_MAX, err);
	if (r == 0)
		r = process_add_environment(&builder, &process, "env", err);
	if (r == 0)
		r = process_set_cwd(&builder, &process, "cwd", err);
	if (r == 0)
		r = read_user(&process, &builder, user, err);
	return r < 0 ? r : process_write(&builder, &process, &config->process, err);
}

int bundle_config_parse(struct bundle_config *config, const char *name, const char *text,
	size_t length, struct ramet_error *err)
{
	*config = (struct bundle_config){0};
	struct field filesystem;
	const char *version;
	int r = document_parse(&config->document, name, text, length, JSON_OBJECT, err);
	if (r < 0)
		return r;
	struct field root = field_root(&config->document);
	r = field_string(&root, "ociVersion", FIELD_NEEDED, &version, err);
	if (r == 0 && strncmp(version, "1.", 2) != 0)
		return error_set(err, EPROTONOSUPPORT,
			"%s: ociVersion is '%.64s', and only 1.x is known", name, version);
	if (r == 0)
		r = field_get(&root, "root", JSON_OBJECT, FIELD_NEEDED, &filesystem, err);
	if (r == 0)
		r = field_string(&filesystem, "path", FIELD_NEEDED, &config->root, err);
	if (r == 0 && !*config->root)
		return field_refuse(&filesystem, EBADMSG, err, "has an empty path");
	if (r == 0)
		r = field_bool(&filesystem, "readonly", &config->read_only, err);
	if (r == 0)
		r = read_mounts(config, &root, err);
	return r < 0 ? r : read_process(config, &root, err);
}

void bundle_config_free(struct bundle_config *config)
{
	vector_free(&config->mounts);
	free(config->process);
	document_free(&config->document);
}
