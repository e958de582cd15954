/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/attachment.h"
#include "cli/guest_options.h"
#include "cli/terminal.h"

/* As timeout(1) and shells have them. */
enum { EXIT_TIMED_OUT = 124, EXIT_INTERRUPTED = 130 };

struct run_command_options {
	struct guest_options guest;
	const char *vmm, *accel;
	unsigned timeout;
	bool interactive, quiet;
	const char *via, *on_stall;
	struct string_list sources;
	bool record, no_prefetch;
	unsigned stall_timeout;
	uint64_t prefetch_bandwidth;
};

static void note(void *ctx, const char *sentence)
{
	const struct ramet_run_options *run = ctx;
	fprintf(stderr, "ramet run: %s on %s%s.\n", run->name, sentence,
		run->interactive ? "; Ctrl-] three times ends it" : "");
}

static int conclude(const struct run_command_options *options, const struct ramet_run_options *run,
	const struct ramet_run_result *result)
{
	if (result->timed_out)
		fprintf(stderr, "ramet run: %s timed out after %u s%s.\n", run->name,
			options->timeout, result->killed ? " and was killed" : "");
	else if (result->stopped && result->killed)
		fprintf(stderr, "ramet run: %s was killed.\n", run->name);
	if (result->timed_out)
		return EXIT_TIMED_OUT;
	return result->stopped ? EXIT_INTERRUPTED : result->exit_status;
}

static int run_run(struct invocation *inv, struct ramet_error *err)
{
	const struct run_command_options *options = inv->options;
	struct ramet_run_options run;
	int status = guest_options_apply(inv, &options->guest, &run);
	if (status != 0)
		return status;
	if (options->interactive && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
		return cli_usage(inv, "--interactive needs a terminal");
	const char *sources[SOURCES_MAX + 1];
	status = source_options_copy(inv, &options->sources, sources);
	if (status != 0)
		return status;
	run.via = options->via;
	run.record = options->record;
	run.no_prefetch = options->no_prefetch;
	run.prefetch_bandwidth = options->prefetch_bandwidth;
	run.fail_stalled = options->on_stall && strcmp(options->on_stall, "fail") == 0;
	run.stall_seconds = options->stall_timeout;
	run.sources = sources;
	run.vmm = options->vmm;
	run.accelerator = options->accel;
	run.timeout = options->timeout;
	run.interactive = options->interactive;
	run.console_in = fcntl(STDIN_FILENO, F_GETFD) < 0 ? -1 : STDIN_FILENO;
	run.console_out = fcntl(STDOUT_FILENO, F_GETFD) < 0 ? -1 : STDOUT_FILENO;
	if (!options->quiet) {
		run.note = note;
		run.note_ctx = &run;
	}
	run.stop_fd = stop_signals_open();
	if (run.stop_fd < 0)
		return error_errno(err, -run.stop_fd, "cannot wait for signals");
	struct terminal terminal = {0};
	if (options->interactive)
		terminal_raw(&terminal);
	struct ramet_run_result result;
	int r = ramet_run(inv->store, &run, &result, err);
	terminal_restore(&terminal);
	close(run.stop_fd);
	return r < 0 ? r : conclude(options, &run, &result);
}

static const struct option_spec run_options[] = {
	GUEST_OPTIONS(struct run_command_options),
	OPTION(STRING, struct run_command_options, vmm, "vmm", "auto|firecracker|qemu",
		"what runs it (default: auto, Firecracker where it works)"),
	OPTION(STRING, struct run_command_options, accel, "accel", "auto|kvm|tcg",
		"hardware or emulation (default: $RAMET_ACCEL, then auto)"),
	OPTION(COUNT, struct run_command_options, timeout, "timeout", "SECONDS",
		"end it after so long, with exit status 124"),
	OPTION(FLAG, struct run_command_options, interactive, "interactive", NULL,
		"give the guest the terminal, Ctrl-C too"),
	OPTION(STRING, struct run_command_options, via, "via", "vhost-user-blk|nbd|fuse|pmem",
		"how lazy images are served to it (default: vhost-user-blk)"),
	OPTION(FLAG, struct run_command_options, record, "record", NULL,
		"keep what is read of a lazy base: later VMs read it ahead"),
	OPTION(FLAG, struct run_command_options, no_prefetch, "no-prefetch", NULL,
		"do not read ahead what an earlier run recorded"),
	OPTION(SIZE, struct run_command_options, prefetch_bandwidth, "prefetch-bandwidth", "SIZE",
		"read ahead so many bytes a second at most (default: 256M)"),
	OPTION(STRING, struct run_command_options, on_stall, "on-stall", "wait|fail",
		"what reads do when a source does not answer (default: wait)"),
	OPTION(COUNT, struct run_command_options, stall_timeout, "stall-timeout", "SECONDS",
		"after how long a source does not answer (default: 30)"),
	OPTION(LIST, struct run_command_options, sources, "source", "[N=|OLD=]DIR",
		"where the folder that a lazy image stands on is now"),
	OPTION(FLAG, struct run_command_options, quiet, "quiet", NULL,
		"do not say which VMM was taken"),
	OPTION_END,
};

const struct command command_run = {
	.name = "run",
	.arguments = "FORK [-- COMMAND [ARGUMENT]...]",
	.summary = "Run a fork in a VM; the exit status is the command's",
	.example = "ramet run vm-1 --kernel vmlinuz -- sh -c 'npm test'",
	.options = run_options,
	.options_size = sizeof(struct run_command_options),
	.least = 1,
	.most = 1,
	.takes_rest = true,
	.completes = COMPLETE_FORKS,
	.run = run_run,
};
