/* SPDX-License-Identifier: Apache-2.0 */
#include "api/guest_process.h"

#include <stdlib.h>
#include <string.h>

/* first (may be NULL), and the strings of the member key behind it. */
static int read_list(const struct field *root, const char *key, const char *first,
	const char ***list, struct ramet_error *err)
{
	struct field array, item;
	int r = field_get(root, key, JSON_ARRAY, FIELD_OPTIONAL, &array, err);
	size_t count = 0;
	if (r < 0 || (!first && !field_count(&array)))
		return r;
	*list = calloc(field_count(&array) + 2, sizeof **list);
	if (!*list)
		return error_memory(err);
	if (first)
		(*list)[count++] = first;
	for (size_t i = 0; r == 0 && i < field_count(&array); i++) {
		r = field_item(&array, i, JSON_STRING, &item, err);
		if (r == 0)
			(*list)[count++] = json_string_value(item.value);
	}
	return r;
}

int guest_process_parse(struct guest_process *process, const char *json, struct ramet_error *err)
{
	*process = (struct guest_process){0};
	if (!json || !*json)
		return 0;
	const char *user = NULL;
	int r = document_parse(&process->document, "the image's default command", json,
		strlen(json), JSON_OBJECT, err);
	if (r < 0)
		return r;
	struct field root = field_root(&process->document);
	r = field_string(&root, "cwd", FIELD_OPTIONAL, &process->cwd, err);
	if (r == 0)
		r = field_string(&root, "user", FIELD_OPTIONAL, &user, err);
	if (r == 0)
		r = read_list(&root, "args", NULL, &process->args, err);
	if (r == 0)
		r = read_list(&root, "env", NULL, &process->env, err);
	return r < 0 || !user ? r : read_list(&root, "groups", user, &process->user, err);
}

void guest_process_free(struct guest_process *process)
{
	free(process->args);
	free(process->env);
	free(process->user);
	document_free(&process->document);
	*process = (struct guest_process){0};
}
