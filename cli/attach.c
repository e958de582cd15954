/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/attachment.h"
#include "cli/cli.h"
#include "cli/json.h"

struct attach_options {
	const char *via, *address, *user, *on_stall;
	unsigned stall_timeout;
	struct string_list sources;
	bool all, read_only, no_prefetch;
	uint64_t prefetch_bandwidth;
};

static const struct option_spec attach_specs[] = {
	OPTION(STRING, struct attach_options, via, "via", "KIND", "how: one of the ways below"),
	OPTION(STRING, struct attach_options, address, "address", "ADDRESS",
		"where (default: in the fork's folder)"),
	OPTION(STRING, struct attach_options, user, "user", "USER[:GROUP]",
		"who may use it, besides you: a jailed VMM"),
	OPTION(FLAG, struct attach_options, all, "all", NULL,
		"serve all drives, the volume too; otherwise the lazy images, if there are any"),
	OPTION(FLAG, struct attach_options, read_only, "read-only", NULL,
		"the volume cannot be written to"),
	OPTION(STRING, struct attach_options, on_stall, "on-stall", "wait|fail",
		"what reads do when a source does not answer (default: wait)"),
	OPTION(COUNT, struct attach_options, stall_timeout, "stall-timeout", "SECONDS",
		"after how long a source does not answer (default: 30)"),
	OPTION(LIST, struct attach_options, sources, "source", "[N=|OLD=]DIR",
		"where the folder that a lazy image stands on is now"),
	OPTION(FLAG, struct attach_options, no_prefetch, "no-prefetch", NULL,
		"do not read ahead what an earlier run recorded"),
	OPTION(SIZE, struct attach_options, prefetch_bandwidth, "prefetch-bandwidth", "SIZE",
		"read ahead so many bytes a second at most (default: 256M)"),
	OPTION_END,
};

static void attach_help(void)
{
	printf("Ways (--via):\n");
	for (const struct ramet_export_info *info = ramet_exports(); info->name; info++)
		printf("  %-15s %s\n", info->name, info->summary);
	printf("  %-15s %s\n", "path",
		"the drives' files, where all are plain ones: serves nothing");
}

static int print_text(void *ctx, const struct ramet_attachment *attachment)
{
	for (size_t i = 0; i < attachment->device_count; i++) {
		const struct ramet_served_device *device = &attachment->devices[i];
		printf("%-8s %s%s\n", device->name, device->address,
			device->read_only ? "" : " (writable)");
	}
	return 0;
}

static int take_json(void *ctx, const struct ramet_attachment *attachment)
{
	*(json_t **)ctx = cli_json_attachment(attachment);
	return 0;
}

static int attach_run(struct invocation *inv, struct ramet_error *err)
{
	const struct attach_options *given = inv->options;
	if (!given->via)
		return cli_usage(inv, "say how, with --via");
	const char *sources[SOURCES_MAX + 1];
	int status = source_options_copy(inv, &given->sources, sources);
	if (status != 0)
		return status;
	const struct ramet_attach_options options = {.name = inv->arguments[0],
		.via = given->via,
		.address = given->address,
		.user = given->user,
		.all = given->all,
		.read_only = given->read_only,
		.fail_stalled = given->on_stall && strcmp(given->on_stall, "fail") == 0,
		.stall_seconds = given->stall_timeout,
		.sources = sources,
		.no_prefetch = given->no_prefetch,
		.prefetch_bandwidth = given->prefetch_bandwidth};
	json_t *object = NULL;
	int r = ramet_attach(
		inv->store, &options, inv->json ? take_json : print_text, &object, err);
	return r < 0 || !inv->json ? r : cli_print_json(object);
}

const struct command command_attach = {
	.name = "attach",
	.arguments = "FORK",
	.summary = "Serve a fork's drives, so that a VMM or the kernel can use them",
	.example = "ramet attach vm-1 --via nbd",
	.options = attach_specs,
	.options_size = sizeof(struct attach_options),
	.least = 1,
	.most = 1,
	.has_json = true,
	.completes = COMPLETE_FORKS,
	.help = attach_help,
	.run = attach_run,
};
