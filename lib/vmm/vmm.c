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

/* As virtblk_name_format() of the kernel's drivers/block/virtio_blk.c counts. */
void vm_drive_name(size_t index, char name[static VM_DRIVE_NAME_SIZE])
{
	char letters[VM_DRIVE_NAME_SIZE], *at = letters + sizeof letters;
	*--at = '\0';
	for (size_t rest = index + 1; rest > 0 && at > letters + 2; rest = (rest - 1) / 26)
		*--at = (char)('a' + (rest - 1) % 26);
	snprintf(name, VM_DRIVE_NAME_SIZE, "vd%s", at);
}

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

static int take_first(bool kvm, size_t drives, struct vmm_choice *choice, struct ramet_error *err)
{
	for (size_t i = 0; vmms[i]; i++) {
		if ((!kvm && vmms[i]->needs_kvm) || take(vmms[i], kvm, choice, NULL) < 0)
			continue;
		if (drives <= vmms[i]->most_drives)
			return 0;
		size_t used = strlen(choice->reason);
		snprintf(choice->reason + used, sizeof choice->reason - used,
			"%s%s has room for %zu drives, and there are %zu", used ? "; " : "",
			vmms[i]->name, vmms[i]->most_drives, drives);
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

int vmm_choose(const char *wanted, const char *accelerator, size_t drives,
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
	return named ? take(named, kvm, choice, err) : take_first(kvm, drives, choice, err);
}

void vmm_choice_free(struct vmm_choice *choice)
{
	free(TAKE_PTR(choice->program));
}
