/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "cli/cli.h"

struct diff_options {
	const char *tar;
	bool patch;
};

static const struct option_spec options[] = {
	OPTION(STRING, struct diff_options, tar, "tar", "FILE",
		"write an OCI image layer to FILE; '-' is standard output"),
	OPTION(FLAG, struct diff_options, patch, "patch", NULL,
		"write a patch for 'git apply'; relative to PATH, when there is one PATH"),
	OPTION_END,
};

/* What the form could not say, and what had to be done to read the volume. */
static void print_notes(
	const struct ramet_diff_options *diff, const struct ramet_diff_result *result)
{
	static const struct {
		const char *form, *what;
	} unsaid[] = {
		{"patch",
			"a patch (owners, permissions, attributes, devices, empty folders, .git)"},
		{"tar", "a tar layer (sockets, names that begin with .wh.)"},
	};
	if (result->journal_replayed && strcmp(diff->form, "json") != 0)
		fprintf(stderr,
			"ramet diff: note: the VM of fork %s did not shut down cleanly; its "
			"journal was replayed in memory.\n",
			diff->name);
	for (size_t i = 0; result->omitted && i < ARRAY_SIZE(unsaid); i++)
		if (strcmp(diff->form, unsaid[i].form) == 0)
			fprintf(stderr,
				"ramet diff: note: %llu change%s cannot be said, wholly or in "
				"part, in %s; 'ramet diff %s' lists all.\n",
				(unsigned long long)result->omitted,
				result->omitted == 1 ? "" : "s", unsaid[i].what, diff->name);
}

static int diff_to_file(struct invocation *inv, struct ramet_diff_options *diff, const char *path,
	struct ramet_diff_result *result, struct ramet_error *err)
{
	_cleanup_outfile_ struct outfile file = OUTFILE_NONE;
	int r = outfile_open(&file, path, err);
	if (r < 0)
		return r;
	diff->fd = file.fd;
	r = ramet_diff(inv->store, diff, result, err);
	return r < 0 ? r : outfile_publish(&file, err);
}

static int diff_run(struct invocation *inv, struct ramet_error *err)
{
	const struct diff_options *given = inv->options;
	if ((given->tar != NULL) + given->patch + inv->json > 1)
		return cli_usage(inv, "only one of --tar, --patch and --json can be had at once");
	for (size_t i = 0; inv->rest && inv->rest[i]; i++)
		if (inv->rest[i][0] != '/')
			return cli_usage(inv,
				"the path '%s' is not absolute (as the guest sees it)",
				inv->rest[i]);
	bool to_file = given->tar && strcmp(given->tar, "-") != 0;
	if (given->tar && !to_file && isatty(STDOUT_FILENO))
		return cli_usage(inv, "a tar is not written to a terminal; name a file");
	struct ramet_diff_options diff = {.name = inv->arguments[0],
		.form = given->tar     ? "tar"
			: given->patch ? "patch"
			: inv->json    ? "json"
				       : "list",
		.paths = inv->rest,
		.fd = STDOUT_FILENO};
	struct ramet_diff_result result;
	int r = to_file ? diff_to_file(inv, &diff, given->tar, &result, err)
			: ramet_diff(inv->store, &diff, &result, err);
	if (r < 0)
		return r;
	print_notes(&diff, &result);
	return EXIT_OK;
}

const struct command command_diff = {
	.name = "diff",
	.arguments = "FORK [-- PATH...]",
	.summary = "Say what a fork changed: as a list, JSON, a tar layer or a patch",
	.example = "ramet diff vm-1 --patch -- /workspace | git apply",
	.options = options,
	.options_size = sizeof(struct diff_options),
	.least = 1,
	.most = 1,
	.takes_rest = true,
	.has_json = true,
	.completes = COMPLETE_FORKS,
	.run = diff_run,
};
