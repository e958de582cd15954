/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "cli/attachment.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/materializing.h"

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

/* A word as it is where a shell would take it so, else as JSON has it. */
static void print_word(const json_t *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "/.-_+:@=,%";
	const char *text = json_string_value(word);
	putchar(' ');
	if (text && *text && !text[strspn(text, plain)])
		fputs(text, stdout);
	else
		json_dumpf(word, stdout, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
}

static void print_process(const char *process)
{
	static const struct {
		const char *key, *title;
	} lines[] = {{"args", "command   "}, {"cwd", "starts in "}, {"user", "runs as   "},
		{"groups", "groups    "}};
	size_t i;
	json_t *object = cli_json_process(process), *value;
	for (i = 0; i < sizeof lines / sizeof *lines; i++) {
		const json_t *list = json_object_get(object, lines[i].key);
		if (!list)
			continue;
		fputs(lines[i].title, stdout);
		if (!json_is_array(list))
			print_word(list);
		for (size_t j = 0; j < json_array_size(list); j++)
			print_word(json_array_get(list, j));
		putchar('\n');
	}
	json_array_foreach(json_object_get(object, "env"), i, value)
	{
		fputs("environ   ", stdout);
		print_word(value);
		putchar('\n');
	}
	json_decref(object);
}

static void print_image(const char *title, const struct ramet_layer_info *image)
{
	printf("%-10s %s\n"
	       "           %s%s, %s since the fork was made\n",
		title, image->path, image->lazy ? "lazy " : "", image->format, image->state);
	if (image->materialized)
		printf("           materialized as %s\n", image->materialized);
	cli_print_materializing("           ", image->materializing);
}

static int print_text(void *ctx, const struct ramet_fork_info *info)
{
	char size[32], allocated[32];
	const struct ramet_layer_info base = {info->base, info->format, info->base_state,
		info->base_lazy, info->base_materialized, info->base_materializing};
	printf("name       %s\n", info->name);
	print_image("base", &base);
	for (size_t i = 0; i < info->layer_count; i++)
		print_image("layer", &info->layers[i]);
	print_read_only(info->read_only_paths);
	print_process(info->process);
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

/* What the last attachment alone says was said already. */
static void print_ever(const struct ramet_served_device *device)
{
	char asked[32], unique[32];
	if (device->ever.attachments < 2)
		return;
	printf("           in all %llu attachments: %s read, in %llu reads",
		(unsigned long long)device->ever.attachments,
		text_size(device->ever.bytes_unique, unique),
		(unsigned long long)device->ever.reads);
	if (device->ever.bytes_asked)
		printf(" of %s; %.1f %% of that had been read before in the same one",
			text_size(device->ever.bytes_asked, asked),
			100.0 * (double)device->ever.bytes_hit / (double)device->ever.bytes_asked);
	putchar('\n');
}

static void print_device(const struct ramet_served_device *device)
{
	char share[64], ahead[32];
	printf("%-10s %s\n", device->name, *device->address ? device->address : "not served now");
	if (!device->size)
		return;
	printf("           read %s, in %llu reads",
		cli_share(device->bytes_unique, device->size, share),
		(unsigned long long)device->reads);
	if (device->bytes_ahead)
		printf("; %s read ahead", text_size(device->bytes_ahead, ahead));
	if (device->bytes_asked)
		printf("; %.1f %% of what was asked for had been read before",
			100.0 * (double)device->bytes_hit / (double)device->bytes_asked);
	putchar('\n');
	print_ever(device);
}

static int print_attachment(void *ctx, const struct ramet_attachment *attachment)
{
	if (*attachment->kind)
		printf("attached   via %s, process %d%s\n", attachment->kind, attachment->pid,
			attachment->for_run ? ", for its run" : "");
	else
		printf("attached   no; the last time:\n");
	for (size_t i = 0; i < attachment->device_count; i++)
		print_device(&attachment->devices[i]);
	printf("log        %s\n", attachment->log);
	for (const char *line = attachment->warnings; *line;) {
		int length = (int)strcspn(line, "\n");
		printf("           %.*s\n", length, line);
		line += length + (line[length] != '\0');
	}
	return 0;
}

static int take_attachment(void *ctx, const struct ramet_attachment *attachment)
{
	json_object_set_new(ctx, "attachment", cli_json_attachment(attachment));
	return 0;
}

static int take_object(void *ctx, const struct ramet_fork_info *info)
{
	*(json_t **)ctx = cli_json_fork(info);
	return 0;
}

static int show_run(struct invocation *inv, struct ramet_error *err)
{
	const char *name = inv->arguments[0];
	if (!inv->json) {
		int r = ramet_forks(inv->store, name, print_text, NULL, err);
		return r < 0 ? r : ramet_attachments(inv->store, name, print_attachment, NULL, err);
	}
	json_t *object = NULL;
	int r = ramet_forks(inv->store, name, take_object, &object, err);
	if (r == 0)
		r = ramet_attachments(inv->store, name, take_attachment, object, err);
	if (r == 0)
		return cli_print_json(object);
	json_decref(object);
	return r;
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
