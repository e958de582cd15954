/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli.h"

static void show(void *ctx, const struct ramet_progress *p)
{
	static const char full[] = "########################################";
	struct cli_progress *progress = ctx;
	char done[32], total[32];
	progress->shown = true;
	if (p->total) {
		unsigned share = (unsigned)(p->done >= p->total ? 40 : p->done * 40 / p->total);
		fprintf(stderr, "\r\033[K%-6s [%-40.*s] %s of %s", p->step, (int)share, full,
			text_size(p->done, done), text_size(p->total, total));
	} else {
		fprintf(stderr, "\r\033[K%-6s %llu", p->step, (unsigned long long)p->done);
	}
}

ramet_progress_fn cli_progress_start(struct cli_progress *progress, const struct invocation *inv)
{
	*progress = (struct cli_progress){0};
	return isatty(STDERR_FILENO) && !inv->json ? show : NULL;
}

void cli_progress_end(struct cli_progress *progress)
{
	if (progress->shown)
		fprintf(stderr, "\r\033[K");
}
