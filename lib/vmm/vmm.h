/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual machine monitors: one file each, one line in the table of vmm.c. This room knows
 * kernels, drives and consoles; what a fork is, its callers know.
 */
#ifndef VMM_VMM_H
#define VMM_VMM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "vmm/process.h"

/* How a VMM reaches a drive, and as what the guest sees it. */
enum vm_drive_kind {
	VM_DRIVE_FILE,       /* a file or a block device -> virtio-blk */
	VM_DRIVE_VHOST_USER, /* the socket of a vhost-user-blk server -> virtio-blk */
	VM_DRIVE_NBD,        /* the socket of an NBD server -> virtio-blk */
	VM_DRIVE_PMEM,       /* a file, mapped into the guest's memory -> virtio-pmem */
	VM_DRIVE_KINDS
};

struct vm_drive {
	const char *id;   /* letters, digits and '_' */
	const char *path; /* of the file, or of the server's socket */
	/* With vhost-user it is the server that says so to the guest. */
	bool read_only;
	enum vm_drive_kind kind;
	const char *export; /* NBD: its name there */
};

/* A socket's path is shorter than this: what an address of AF_UNIX can hold. */
enum { VM_SOCKET_MAX = 108 };
/* The guest can use whole such pieces of a pmem drive. Firecracker takes any file, and the guest
 * reads zeros behind its end; QEMU takes only files of whole pieces. */
enum { VM_PMEM_ALIGN = 2 << 20 };

/* The guest's name for its virtio-blk number index, from 0: "vda", ..., "vdz", "vdaa", ... */
enum { VM_DRIVE_NAME_SIZE = 12 };
void vm_drive_name(size_t index, char name[static VM_DRIVE_NAME_SIZE]);
/* The guest's name for drives[index] among those before it: virtio-blk ("vda") and pmem ("pmem0")
 * count apart. drives NULL: all are virtio-blk. */
void vm_drive_device(
	const struct vm_drive *drives, size_t index, char name[static VM_DRIVE_NAME_SIZE]);

/* A virtual machine. Paths are absolute, strings are borrowed. */
struct vm_config {
	const char *folder; /* where its log and sockets go */
	int folder_fd;
	const char *kernel;
	const char *initrd; /* NULL: the first drive is the root, and the kernel mounts it */
	const char *command_line;
	const struct vm_drive *drives; /* the guest sees them in this order: vm_drive_device() */
	size_t drive_count;
	unsigned vcpus, memory_mib;
	bool kvm;    /* hardware virtualisation, else software emulation */
	int keep_fd; /* stays open in the VMM (a lock), -1: none */
	int stop_fd; /* readable: no longer wanted, -1: none */
};

/* One that runs. */
struct vm {
	struct process process;
	int control; /* the VMM's own, for stop; -EBADF: none */
};
#define VM_NONE \
	{ \
		.process = PROCESS_NONE, .control = -EBADF \
	}
void vm_close(struct vm *vm); /* kills it when it still runs */
#define _cleanup_vm_ __attribute__((cleanup(vm_close)))

struct vmm {
	const char *name;    /* "qemu" */
	const char *program; /* what to look for in PATH */
	const char *install; /* what to do when it is not there */
	bool needs_kvm;
	bool needs_elf;        /* takes no compressed kernel */
	bool says_root;        /* adds root= for a root drive itself */
	const char *arguments; /* kernel arguments that make the guest end well under this VMM */
	size_t reserve;        /* bytes of command line it adds itself, at most... */
	size_t drive_reserve;  /* ... and for each drive */
	size_t mmio_drives;    /* how many drives it has room for on virtio-mmio */
	size_t most_drives;    /* in all: those above mmio_drives make it put all on PCI */
	bool takes[VM_DRIVE_KINDS];
	bool reconnects
		[VM_DRIVE_KINDS]; /* goes on when another server takes the first one's place */
	bool pmem_on_pci;         /* a pmem drive makes it put all on PCI */
	/* More kernel arguments, for this host and config; may be NULL. */
	void (*tune)(bool kvm, char *buffer, size_t size);
	/* Start the machine. -ECANCELED when stop_fd became readable meanwhile; *vm is then, as after
	 * every error, to be closed by the caller, and may tell the VMM's last words. */
	int (*start)(const struct vmm *vmm, const char *program, const struct vm_config *config,
		struct vm *vm, struct ramet_error *err);
	/* Press the machine's power button, for a guest with an init of its own. Does not wait. */
	void (*ask)(struct vm *vm);
	/* Tell the VMM to end now. Does not wait; what it does not do in time the caller kills. */
	void (*stop)(struct vm *vm);
};

/* Whether the VMM takes drives of that kind: 0, or -EOPNOTSUPP and why not, with what to do. */
int vmm_takes(const struct vmm *vmm, enum vm_drive_kind kind, struct ramet_error *err);
/* The same for each of the drives; and sockets have paths that can be connected to: -ENAMETOOLONG. */
int vmm_check_drives(const struct vmm *vmm, const struct vm_drive *drives, size_t count,
	struct ramet_error *err);
/* Whether these drives will be PCI devices. */
bool vmm_uses_pci(const struct vmm *vmm, const struct vm_drive *drives, size_t count);
/* The kernel modules that make a guest see these drives, NULL-terminated; static strings. */
enum { VMM_MODULES_MAX = 8 };
void vmm_name_modules(const struct vmm *vmm, const struct vm_drive *drives, size_t count,
	const char *names[static VMM_MODULES_MAX]);

/* The table, ended by NULL; "auto" tries it in this order. */
extern const struct vmm *const vmms[];
extern const struct vmm vmm_firecracker, vmm_qemu;

struct vmm_choice {
	const struct vmm *vmm;
	char *program; /* its path */
	bool kvm;
	char reason[640]; /* where there was a choice, why: "there is no /dev/kvm" */
};
/* What "auto" must find room and ways for. */
struct vm_needs {
	size_t drives;
	bool kinds[VM_DRIVE_KINDS];
};
/*
 * Which VMM and which accelerator. wanted: a name or "auto"; accelerator: "kvm", "tcg" or "auto".
 * What was named is taken or refused. -ENOENT: not installed; -EOPNOTSUPP: cannot serve here.
 */
int vmm_choose(const char *wanted, const char *accelerator, const struct vm_needs *needs,
	struct vmm_choice *choice, struct ramet_error *err);
void vmm_choice_free(struct vmm_choice *choice);
#define _cleanup_choice_ __attribute__((cleanup(vmm_choice_free)))

/* The configuration as Firecracker's configuration file has it. The caller owns the reference.
 * -EILSEQ: there is something in it that is not UTF-8; as vmm_check_drives(); -ENOMEM. */
struct json_t;
int firecracker_configuration(
	const struct vm_config *config, struct json_t **configuration, struct ramet_error *err);

#endif
