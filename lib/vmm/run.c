/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a configuration to what its machine came to. How it ended is read from three things, the
 * surest first: the init's last line, the VMM's own end, the guest's last words.
 */
#include "vmm/run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "vmm/session.h"

static int vmm_died(const struct vmm_choice *choice, const struct vm *vm,
	const struct vm_config *config, struct ramet_error *err)
{
	char words[400];
	process_last_words(&vm->process, words, sizeof words);
	return error_set(err, ECONNRESET, "%s died: %s (its log is %s/vmm.log)", choice->vmm->name,
		words, config->folder);
}

static bool process_failed(const struct process *process)
{
	return !WIFEXITED(process->status) || WEXITSTATUS(process->status) != 0;
}

/* What the kernel says when it gives up. It says more after it, which helps nobody. */
static bool panicked(const struct session *session, char *words, size_t size)
{
	static const char panic[] = "Kernel panic - not syncing", end[] = "---[ end";
	if (!tail_line_with(&session->tail, panic, words, size))
		return false;
	char *again = strstr(words, end);
	if (again)
		memmove(words, again + sizeof end, strlen(again + sizeof end) + 1);
	return true;
}

/* The guest ended, and the init did not say how. */
static int ended_silently(const struct session *session, struct ramet_error *err)
{
	char words[400];
	if (panicked(session, words, sizeof words))
		return error_set(err, EPROTO, "the guest's kernel gave up: %s", words);
	if (!tail_last_line(&session->tail, words, sizeof words))
		return error_set(err, EPROTO,
			"the guest ended without saying how, and printed nothing; does it have memory "
			"enough, the kernel its drivers (--modules), a serial console? --verbose "
			"shows its messages");
	return error_set(
		err, EPROTO, "the guest ended without saying how; its last line was: %s", words);
}

/* The guest cannot have read its drives any more, whatever it says of its end. */
static int unserved(const struct session *session, struct ramet_error *err)
{
	return error_set(err, ECONNABORTED,
		"what served its drives ended while the guest ran%s; what the guest had not flushed "
		"is lost",
		session->phase == SESSION_KILLED ? ", and the VM was killed" : "");
}

static int conclude(const struct vmm_choice *choice, const struct vm_config *config,
	const struct session *session, struct run_result *result, struct ramet_error *err)
{
	const struct process *process = &session->vm->process;
	result->timed_out = session->timed_out;
	result->stopped = session->stopped;
	result->killed = session->phase >= SESSION_ORDERED &&
			 session->exitline.kind == EXITLINE_NONE;
	if (session->exitline.kind == EXITLINE_EXIT)
		result->exit_status = session->exitline.status;
	if (session->unserved)
		return unserved(session, err);
	if (session->timed_out || session->stopped || session->exitline.kind == EXITLINE_EXIT)
		return 0;
	if (session->exitline.kind == EXITLINE_FAIL)
		return error_set(err, EPROTO, "the guest could not be set up: %s",
			session->exitline.sentence);
	if (process_failed(process))
		return vmm_died(choice, session->vm, config, err);
	char words[400];
	if (session->options->has_command || panicked(session, words, sizeof words))
		return ended_silently(session, err);
	return 0;
}

/* Whether the machine can go on when what serves its drives ends and another takes its place. Where
 * none is reached through a socket, it is a file that was served, and an open one is gone for good. */
static bool can_reconnect(const struct vmm *vmm, const struct vm_config *config)
{
	bool any = false;
	for (size_t i = 0; i < config->drive_count; i++) {
		enum vm_drive_kind kind = config->drives[i].kind;
		if (kind != VM_DRIVE_FILE && !vmm->reconnects[kind])
			return false;
		any |= vmm->reconnects[kind];
	}
	return any;
}

int vm_run(const struct vmm_choice *choice, const struct vm_config *config,
	const struct run_options *options, struct run_result *result, struct ramet_error *err)
{
	*result = (struct run_result){0};
	_cleanup_vm_ struct vm vm = VM_NONE;
	int r = choice->vmm->start(choice->vmm, choice->program, config, &vm, err);
	if (r == -ECANCELED) {
		result->stopped = true;
		return 0;
	}
	if (r == -ECONNRESET) {
		/* Its connection ends a moment before it does; its own status says more. */
		if (!process_wait(&vm.process, 1000))
			process_kill(&vm.process);
		return vmm_died(choice, &vm, config, err);
	}
	if (r < 0)
		return r;
	if (options->started)
		options->started(options->ctx, vm.process.pid);
	_cleanup_session_ struct session session;
	session_run(&session, choice->vmm, &vm, can_reconnect(choice->vmm, config), options);
	return conclude(choice, config, &session, result, err);
}
