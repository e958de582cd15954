/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of QEMU's VMM: its command line, and how each drive stands on it. */
#ifndef VMM_QEMU_LINE_H
#define VMM_QEMU_LINE_H

#include "base/vector.h"
#include "vmm/vmm.h"

/* A program's arguments as they are put together; start with {0}. What fails is looked at once, at
 * the end. */
struct qemu_line {
	VECTOR(char *) list;
	bool failed;
};

void qemu_line_free(struct qemu_line *line);
#define _cleanup_qemu_line_ __attribute__((cleanup(qemu_line_free)))
void qemu_line_add(struct qemu_line *line, const char *string);
/* An option with its value. */
void qemu_line_format(struct qemu_line *line, const char *option, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same, with a file's name at the end of the value. */
void qemu_line_path(
	struct qemu_line *line, const char *option, const char *value, const char *path);

/* The machine's memory and bus, as the drives need them. Errors: of a pmem drive's file, EINVAL. */
int qemu_line_machine(
	struct qemu_line *line, const struct vm_config *config, bool pci, struct ramet_error *err);
/* All drives. */
int qemu_line_drives(
	struct qemu_line *line, const struct vm_config *config, bool pci, struct ramet_error *err);

#endif
