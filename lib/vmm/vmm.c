/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which VMM runs a fork. "auto" takes the first of the table that is installed and can work here;
 * a VMM or accelerator that was asked for by name is never replaced by another.
 */
#include "vmm/vmm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/kvm.h"

const struct vmm *const vmms[] = {
	&vmm_firecracker,
	&vmm_qemu,
	NULL,
};

void vm_close(struct vm *vm)
{
	process_close(&vm->process);
	cleanup_close(&vm->control);
	vm->control = -EBADF;
}

/* The path of a program in $PATH, malloc()ed, or NULL. */
static char *find_program(const char *name)
{
	const char *path = getenv("PATH");
	for (const char *at = path ? path : "/usr/bin:/bin"; *at;) {
		size_t length = strcspn(at, ":");
		char *candidate = NULL;
		/* An empty part would mean the working folder: nothing is run from there. */
		if (length && asprintf(&candidate, "%.*s/%s", (int)length, at, name) < 0)
			return NULL;
		struct stat st;
		if (candidate && stat(candidate, &st) == 0 && S_ISREG(st.st_mode) &&
			access(candidate, X_OK) == 0) {
			char *absolute = realpath(candidate, NULL);
			free(candidate);
			return absolute;
		}
		free(candidate);
		at += length;
		at += *at == ':';
	}
	return NULL;
}

static int take(const struct vmm *vmm, bool kvm, struct vmm_choice *choice, struct ramet_error *err)
{
	choice->program = find_program(vmm->program);
	if (!choice->program)
		return error_set(err, ENOENT, "%s is not in PATH; %s", vmm->program, vmm->install);
	choice->vmm = vmm;
	choice->kvm = kvm;
	return 0;
}

/* Why it cannot serve these needs, or "" when it can. */
static void find_want(const struct vmm *vmm, const struct vm_needs *needs, char *why, size_t size)
{
	struct ramet_error err = {0};
	*why = '\0';
	for (int kind = 0; kind < VM_DRIVE_KINDS; kind++)
		if (needs->kinds[kind] && vmm_takes(vmm, kind, &err) < 0)
			snprintf(why, size, "%.*s", (int)strcspn(err.message, ";"), err.message);
	if (needs->drives > vmm->most_drives)
		snprintf(why, size, "%s has room for %zu drives, and there are %zu", vmm->name,
			vmm->most_drives, needs->drives);
}

static int take_first(
	bool kvm, const struct vm_needs *needs, struct vmm_choice *choice, struct ramet_error *err)
{
	char why[200];
	for (size_t i = 0; vmms[i]; i++) {
		if ((!kvm && vmms[i]->needs_kvm) || take(vmms[i], kvm, choice, NULL) < 0)
			continue;
		find_want(vmms[i], needs, why, sizeof why);
		if (!*why)
			return 0;
		size_t used = strlen(choice->reason);
		snprintf(choice->reason + used, sizeof choice->reason - used, "%s%s",
			used ? "; " : "", why);
		vmm_choice_free(choice);
	}
	return error_set(err, ENOENT,
		"there is nothing to run a VM with: neither firecracker nor %s is in PATH%s; %s",
		vmm_qemu.program, kvm ? "" : ", or they cannot work here", vmm_qemu.install);
}

static const struct vmm *vmm_named(const char *name)
{
	for (size_t i = 0; vmms[i]; i++)
		if (strcmp(vmms[i]->name, name) == 0)
			return vmms[i];
	return NULL;
}

static int take_named(const struct vmm *vmm, bool kvm, const struct vm_needs *needs,
	struct vmm_choice *choice, struct ramet_error *err)
{
	int r = 0;
	for (int kind = 0; kind < VM_DRIVE_KINDS && r == 0; kind++)
		r = needs->kinds[kind] ? vmm_takes(vmm, kind, err) : 0;
	return r == 0 ? take(vmm, kvm, choice, err) : r;
}

int vmm_choose(const char *wanted, const char *accelerator, const struct vm_needs *needs,
	struct vmm_choice *choice, struct ramet_error *err)
{
	*choice = (struct vmm_choice){0};
	const struct vmm *named = NULL;
	if (strcmp(wanted, "auto") != 0 && !(named = vmm_named(wanted)))
		return error_set(err, EINVAL, "there is no VMM called '%s'", wanted);
	bool kvm = strcmp(accelerator, "kvm") == 0, tcg = strcmp(accelerator, "tcg") == 0;
	if (!kvm && !tcg && strcmp(accelerator, "auto") != 0)
		return error_set(
			err, EINVAL, "the accelerator is kvm, tcg or auto, not '%s'", accelerator);
	struct ramet_error why = {0};
	if (!kvm && !tcg) {
		kvm = kvm_probe(&why) == 0;
		snprintf(choice->reason, sizeof choice->reason, "%.500s", why.message);
	}
	if (named && named->needs_kvm && !kvm)
		return error_set(err, EOPNOTSUPP, "%s needs KVM, and %s; --vmm qemu can do without",
			named->name, tcg ? "tcg was asked for" : why.message);
	return named ? take_named(named, kvm, needs, choice, err)
		     : take_first(kvm, needs, choice, err);
}

void vmm_choice_free(struct vmm_choice *choice)
{
	free(TAKE_PTR(choice->program));
}
