/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"

static int print_finding(void *ctx, const struct ramet_finding *finding)
{
	printf("%-14s %-4s %s\n", finding->name, finding->ok ? "yes" : "no", finding->detail);
	if (*finding->advice)
		printf("%-14s      -> %s\n", "", finding->advice);
	return 0;
}

static int take_finding(void *ctx, const struct ramet_finding *finding)
{
	json_array_append_new(ctx, json_pack("{s:s, s:b, s:o, s:o}", "name", finding->name, "ok",
					   finding->ok, "detail", cli_json_string(finding->detail),
					   "advice", cli_json_string(finding->advice)));
	return 0;
}

static int doctor_run(struct invocation *inv, struct ramet_error *err)
{
	const char *recommended = NULL;
	if (!inv->json) {
		int r = ramet_doctor(inv->store, print_finding, NULL, &recommended, err);
		if (r == 0)
			printf("\nFor an ext4 base, --provider auto takes %s here.\n", recommended);
		return r;
	}
	json_t *findings = json_array();
	int r = ramet_doctor(inv->store, take_finding, findings, &recommended, err);
	if (r == 0)
		return cli_print_json(json_pack(
			"{s:s, s:o}", "recommended_provider", recommended, "findings", findings));
	json_decref(findings);
	return r;
}

const struct command command_doctor = {
	.name = "doctor",
	.arguments = "",
	.summary = "Tell what this host can do, and what to do about the rest",
	.example = "ramet doctor",
	.has_json = true,
	.run = doctor_run,
};
