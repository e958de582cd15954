/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/materializing.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/json.h"

json_t *cli_json_materializing(const struct ramet_materializing *m)
{
	if (!m)
		return json_null();
	return json_pack("{s:b, s:b, s:o, s:I, s:I, s:I, s:o, s:o}", "at_work", m->at_work,
		"background", m->background, "pid", m->pid ? json_integer(m->pid) : json_null(),
		"bytes_done", (json_int_t)m->done, "bytes_total", (json_int_t)m->total, "since",
		(json_int_t)m->since, "failed",
		m->failed ? cli_json_string(m->failed) : json_null(), "log",
		cli_json_string(m->log));
}

void cli_print_materializing(const char *title, const struct ramet_materializing *m)
{
	if (!m)
		return;
	printf("%s", title);
	if (!m->at_work) {
		printf("materializing failed: %s\n", m->failed);
		return;
	}
	printf("materializing: %.1f %% (%" PRIu64 " of %" PRIu64 " bytes)",
		m->total ? 100.0 * (double)m->done / (double)m->total : 0.0, m->done, m->total);
	if (m->pid)
		printf(", process %d", m->pid);
	printf("%s\n", m->background ? " in the background" : "");
}
