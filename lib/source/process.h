/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The default command of a source, as the catalogue keeps it: JSON
 *     {"args": ["sh"], "env": ["PATH=/bin"], "cwd": "/srv", "user": "app", "groups": ["27"]}
 * Members that say nothing are left out. user is as in an image's configuration: a name or a number,
 * and after a colon a group; groups, of a bundle, are the numbers of further groups.
 */
#ifndef SOURCE_PROCESS_H
#define SOURCE_PROCESS_H

#include "base/document.h"

#define PROCESS_ARGUMENTS_MAX   512
#define PROCESS_ENVIRONMENT_MAX 1024
#define PROCESS_GROUPS_MAX      64
/* Of all strings together: the guest's init has room for so much, however it is written. */
#define PROCESS_BYTES_MAX 32768

struct process_builder {
	json_t *args, *env, *groups;
	const char *cwd, *user;
	size_t bytes;
};
void process_builder_free(struct process_builder *builder);
#define _cleanup_process_builder_ __attribute__((cleanup(process_builder_free)))

/* Put the strings of the member key of object behind what list has. */
int process_add_strings(struct process_builder *builder, json_t **list, const struct field *object,
	const char *key, size_t most, struct ramet_error *err);
/* Environment: each "NAME=VALUE". */
int process_add_environment(struct process_builder *builder, const struct field *object,
	const char *key, struct ramet_error *err);
int process_add_group(struct process_builder *builder, uint64_t group);
/* cwd: an absolute path or empty; where is what refusals are about. */
int process_set_cwd(struct process_builder *builder, const struct field *object, const char *key,
	struct ramet_error *err);
int process_set_user(struct process_builder *builder, const struct field *where, const char *user,
	struct ramet_error *err);
/* *json: what was put together, NULL when it says nothing; the caller frees it. */
int process_write(const struct process_builder *builder, const struct field *where, char **json,
	struct ramet_error *err);

#endif
