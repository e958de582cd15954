/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "cli/attachment.h"
#include "cli/cli.h"
#include "cli/json.h"

struct verify_options {
	const char *digest;
	struct string_list sources;
};

static const struct option_spec options[] = {
	OPTION(STRING, struct verify_options, digest, "digest", "DIGEST",
		"what the file's digest must be, sha256:HEX; of one IMAGE"),
	OPTION(LIST, struct verify_options, sources, "source", "[N=|OLD=]DIR",
		"where the folder of one lazy IMAGE is now; noted when all is right there"),
	OPTION_END,
};

/* What is found in one image, as it comes. */
struct findings {
	struct cli_progress progress;
	const char *image;
	json_t *array; /* NULL: they are printed */
	uint64_t told;
};

static void finding(void *ctx, const char *path, const char *sentence)
{
	struct findings *findings = ctx;
	findings->told++;
	if (findings->array) {
		json_array_append_new(findings->array,
			json_pack("{s:o, s:o}", "path", *path ? cli_json_string(path) : json_null(),
				"message", cli_json_string(sentence)));
		return;
	}
	cli_progress_end(&findings->progress);
	printf("%s: %s%s%s\n", findings->image, path, *path ? ": " : "", sentence);
}

static void print_text(const char *image, const struct ramet_verify_result *result, uint64_t told)
{
	char content[32];
	if (told < result->findings)
		printf("%s: and %llu more\n", image, (unsigned long long)(result->findings - told));
	if (result->findings) {
		printf("%s: damaged: %llu finding%s\n", image, (unsigned long long)result->findings,
			result->findings == 1 ? "" : "s");
		return;
	}
	printf("%s: good: %s, %llu entries, %s in %llu files; digest %s%s\n", image, result->format,
		(unsigned long long)result->entries, text_size(result->content_bytes, content),
		(unsigned long long)result->files, result->digest_state,
		result->sources_noted ? "; where its files are is noted" : "");
}

static json_t *object_of(
	const char *image, const struct ramet_verify_result *result, json_t *findings)
{
	return json_pack("{s:o, s:b, s:o, s:I, s:I, s:I, s:s, s:s, s:b, s:I, s:O}", "path",
		cli_json_string(image), "good", result->findings == 0, "format",
		*result->format ? json_string(result->format) : json_null(), "entries",
		(json_int_t)result->entries, "files", (json_int_t)result->files, "content_bytes",
		(json_int_t)result->content_bytes, "digest", result->digest, "digest_state",
		result->digest_state, "sources_noted", result->sources_noted, "finding_count",
		(json_int_t)result->findings, "findings", findings);
}

/* Answers an exit status; what failed is said. array: where the result goes, or NULL. */
static int verify_one(
	struct invocation *inv, const char *image, const char *const *sources, json_t *array)
{
	const struct verify_options *given = inv->options;
	struct findings findings = {.image = image, .array = array ? json_array() : NULL};
	struct ramet_verify_options verify = {
		.image = image,
		.digest = given->digest,
		.sources = sources,
		.finding = finding,
		.finding_ctx = &findings,
		.progress = cli_progress_start(&findings.progress, inv),
		.progress_ctx = &findings.progress,
	};
	struct ramet_verify_result result;
	struct ramet_error err = {0};
	int r = ramet_verify(inv->store, &verify, &result, &err);
	cli_progress_end(&findings.progress);
	if (r < 0)
		cli_report(inv, &err);
	else if (array)
		json_array_append_new(array, object_of(image, &result, findings.array));
	else
		print_text(image, &result, findings.told);
	json_decref(findings.array);
	return r < 0 || result.findings ? EXIT_FAILED : EXIT_OK;
}

static int verify_run(struct invocation *inv, struct ramet_error *err)
{
	const struct verify_options *given = inv->options;
	if (given->digest && inv->argument_count > 1)
		return cli_usage(
			inv, "--digest is of one image, and there are %zu", inv->argument_count);
	if (given->sources.count && inv->argument_count > 1)
		return cli_usage(
			inv, "--source is of one image, and there are %zu", inv->argument_count);
	const char *sources[SOURCES_MAX + 1];
	int status = source_options_copy(inv, &given->sources, sources);
	if (status != 0)
		return status;
	json_t *array = inv->json ? json_array() : NULL;
	for (size_t i = 0; i < inv->argument_count; i++) {
		int one = verify_one(inv, inv->arguments[i], sources, array);
		status = one ? one : status;
	}
	int printed = array ? cli_print_json(array) : EXIT_OK;
	return status ? status : printed;
}

const struct command command_verify = {
	.name = "verify",
	.arguments = "IMAGE...",
	.summary = "Read all of an image and say whether it is whole",
	.example = "ramet verify base.squashfs",
	.options = options,
	.options_size = sizeof(struct verify_options),
	.least = 1,
	.most = 4096,
	.has_json = true,
	.run = verify_run,
};
