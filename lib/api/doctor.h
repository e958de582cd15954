/* SPDX-License-Identifier: Apache-2.0 */
#ifndef API_DOCTOR_H
#define API_DOCTOR_H

#include <stdbool.h>

#include "base/text.h"

struct ramet_store;

/* One thing to look for. find answers whether it is there, says in detail what was found, and in
 * advice, when it is not there, what to do. */
struct doctor_probe {
	const char *name;
	bool (*find)(struct ramet_store *store, struct text *detail, struct text *advice);
};

/* doctor_kernel.c */
bool doctor_find_kvm(struct ramet_store *store, struct text *detail, struct text *advice);
bool doctor_find_device_mapper(struct ramet_store *store, struct text *detail, struct text *advice);
bool doctor_find_nbd(struct ramet_store *store, struct text *detail, struct text *advice);
bool doctor_find_ublk(struct ramet_store *store, struct text *detail, struct text *advice);
bool doctor_find_io_uring(struct ramet_store *store, struct text *detail, struct text *advice);
bool doctor_find_landlock(struct ramet_store *store, struct text *detail, struct text *advice);

/* doctor_programs.c */
bool doctor_find_server(struct ramet_store *store, struct text *detail, struct text *advice);
bool doctor_find_firecracker(struct ramet_store *store, struct text *detail, struct text *advice);
bool doctor_find_qemu(struct ramet_store *store, struct text *detail, struct text *advice);
bool doctor_find_fuse(struct ramet_store *store, struct text *detail, struct text *advice);

#endif
