/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "api/machine.h"
#include "base/cleanup.h"
#include "vmm/run.h"

/* The random word that makes the init's last line one that no program can print by chance. */
static int nonce_make(char nonce[static 33], struct ramet_error *err)
{
	uint8_t bytes[16];
	if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
		return error_errno(err, errno, "there are no random numbers to be had");
	for (size_t i = 0; i < sizeof bytes; i++)
		snprintf(nonce + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

static int choose(const struct ramet_run_options *options, const struct vm_needs *needs,
	struct vmm_choice *choice, struct ramet_run_result *result, struct ramet_error *err)
{
	const char *accelerator = options->accelerator;
	if (!accelerator || !*accelerator)
		accelerator = getenv("RAMET_ACCEL");
	if (!accelerator || !*accelerator)
		accelerator = "auto";
	int r = vmm_choose(options->vmm ? options->vmm : "auto", accelerator, needs, choice, err);
	if (r < 0)
		return r;
	result->vmm = choice->vmm->name;
	result->accelerator = choice->kvm ? "kvm" : "tcg";
	return 0;
}

static void say_choice(const struct ramet_run_options *options, size_t drives,
	const struct vmm_choice *choice, const struct run_server *server)
{
	char sentence[1536], bus[128] = "", served[256] = "";
	if (!options->note)
		return;
	if (drives > choice->vmm->mmio_drives)
		snprintf(bus, sizeof bus,
			"; the %zu drives are on PCI, as virtio-mmio has room for %zu", drives,
			choice->vmm->mmio_drives);
	if (server) {
		const char *reason = run_server_reason(options, server->kind);
		snprintf(served, sizeof served, "; %s served via %s%s%s",
			server->serving.config.devices.count == 1 ? "its lazy base is"
								  : "its drives are",
			options->via ? options->via : server->serving.ops->name,
			*reason ? ", " : "", reason);
	}
	snprintf(sentence, sizeof sentence, "%s with %s%s%s%s%s", choice->vmm->name,
		choice->kvm ? "KVM" : "software emulation", *choice->reason ? ": " : "",
		choice->reason, bus, served);
	options->note(options->note_ctx, sentence);
}

static void describe_terminal(
	const struct ramet_run_options *options, struct guest_arguments *arguments)
{
	struct winsize size;
	if (!options->interactive)
		return;
	bool known = ioctl(options->console_out, TIOCGWINSZ, &size) == 0 && size.ws_row &&
		     size.ws_col;
	arguments->rows = known ? size.ws_row : 24;
	arguments->columns = known ? size.ws_col : 80;
	arguments->term = getenv("TERM");
}

static void holder_add(void *ctx, pid_t pid)
{
	/* Only a name for messages; the lock itself is inherited. */
	(void)store_lock_add_holder(&((struct machine *)ctx)->lock, pid);
}

static int server_again(void *ctx)
{
	return run_server_again(&((struct machine *)ctx)->server);
}

int ramet_run(struct ramet_store *store, const struct ramet_run_options *options,
	struct ramet_run_result *result, struct ramet_error *err)
{
	*result = (struct ramet_run_result){0};
	_cleanup_choice_ struct vmm_choice choice = {0};
	struct vm_needs needs;
	bool served = false;
	int r = machine_count_drives(store, options, &needs, &served, err);
	if (r == 0)
		r = choose(options, &needs, &choice, result, err);
	if (r < 0)
		return r;
	char nonce[33];
	r = nonce_make(nonce, err);
	if (r < 0)
		return r;
	struct guest_arguments arguments = {.vmm = choice.vmm, .kvm = choice.kvm, .nonce = nonce};
	describe_terminal(options, &arguments);
	_cleanup_machine_ struct machine machine = MACHINE_NONE;
	r = machine_prepare(&machine, store, options, &arguments, "initramfs", false, err);
	if (r < 0)
		return r;
	machine.config.kvm = choice.kvm;
	say_choice(options, needs.drives, &choice, served ? &machine.server : NULL);
	if (served && r == 0)
		r = run_server_start(&machine.server, err);
	if (r < 0)
		return r;
	struct run_options run = {.console_in = options->console_in,
		.console_out = options->console_out,
		.stop_fd = options->stop_fd,
		.server_fd = machine.server.pidfd,
		.server_again = served ? server_again : NULL,
		.timeout = options->timeout,
		.nonce = nonce,
		.has_command = arguments.argv != NULL,
		.person = options->interactive,
		.verbose = options->verbose,
		.started = holder_add,
		.ctx = &machine};
	struct run_result ended;
	r = vm_run(&choice, &machine.config, &run, &ended, err);
	if (r < 0)
		return error_prefix(err, r, "fork %s", options->name);
	result->exit_status = ended.exit_status;
	result->timed_out = ended.timed_out;
	result->stopped = ended.stopped;
	result->killed = ended.killed;
	return 0;
}
