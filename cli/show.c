/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/json.h"

static void print_time(int64_t seconds)
{
	time_t when = (time_t)seconds;
	struct tm local;
	char text[64] = "";
	if (localtime_r(&when, &local))
		strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %z", &local);
	printf("created    %s\n", text);
}

static void print_read_only(const char *lines)
{
	while (*lines) {
		int length = (int)strcspn(lines, "\n");
		printf("read-only  %.*s\n", length, lines);
		lines += length + (lines[length] != '\0');
	}
}

static int print_text(void *ctx, const struct ramet_fork_info *info)
{
	char size[32], allocated[32];
	printf("name       %s\n"
	       "base       %s\n"
	       "           %s, %s since the fork was made\n",
		info->name, info->base, info->format, info->base_state);
	print_read_only(info->read_only_paths);
	printf("mode       %s\n"
	       "provider   %s\n"
	       "volume     %s\n"
	       "size       %s (%llu bytes)\n"
	       "allocated  %s (%llu bytes)\n",
		info->mode, info->provider, info->volume, text_size(info->size, size),
		(unsigned long long)info->size, text_size(info->allocated, allocated),
		(unsigned long long)info->allocated);
	print_time(info->created);
	if (info->holder > 0)
		printf("holder     process %d\n", info->holder);
	else
		printf("holder     %s\n",
			info->holder ? "a process whose pid is not known" : "nobody");
	return 0;
}

static int take_object(void *ctx, const struct ramet_fork_info *info)
{
	*(json_t **)ctx = cli_json_fork(info);
	return 0;
}

static int show_run(struct invocation *inv, struct ramet_error *err)
{
	if (!inv->json)
		return ramet_forks(inv->store, inv->arguments[0], print_text, NULL, err);
	json_t *object = NULL;
	int r = ramet_forks(inv->store, inv->arguments[0], take_object, &object, err);
	return r < 0 ? r : cli_print_json(object);
}

const struct command command_show = {
	.name = "show",
	.arguments = "FORK",
	.summary = "Show all that is known of a fork",
	.example = "ramet show vm-1",
	.least = 1,
	.most = 1,
	.has_json = true,
	.completes = COMPLETE_FORKS,
	.run = show_run,
};
