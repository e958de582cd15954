/* SPDX-License-Identifier: Apache-2.0 */
/* What this host can do. Each probe tries the thing itself where that is possible without a trace:
 * a file that is there, or a module that is listed, is not yet one that works. */
#include "api/doctor.h"

#include <string.h>

#include "export/export.h"
#include "store/store.h"
#include "volume/volume.h"

static struct volume_place place_of(const struct ramet_store *store)
{
	return (struct volume_place){.dirfd = store->dirfd, .root = store->root};
}

static bool find_reflink(struct ramet_store *store, struct text *detail, struct text *advice)
{
	char reason[VOLUME_REASON_SIZE];
	const struct volume_place place = place_of(store);
	bool found = volume_reflink.probe(&place, NULL, 0, reason);
	text_append(detail, reason);
	text_append(advice, "put the store on XFS or btrfs with --root, and the bases there too");
	return found;
}

/* What an export needs of the host; one that is not here needs nothing. */
static const struct {
	const char *export;
	bool (*find)(struct ramet_store *store, struct text *detail, struct text *advice);
} needs[] = {
	{"fuse", doctor_find_fuse},
	{"nbd-device", doctor_find_nbd},
	{"ublk", doctor_find_ublk},
};

static bool can_export(struct ramet_store *store, const char *export)
{
	_cleanup_text_ struct text detail = {0}, advice = {0};
	for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
		if (strcmp(needs[i].export, export) == 0)
			return needs[i].find(store, &detail, &advice);
	return true;
}

/* Which ways of attaching there are here; what the others lack is said above. */
static bool find_exports(struct ramet_store *store, struct text *detail, struct text *advice)
{
	_cleanup_text_ struct text missing = {0};
	for (size_t i = 0; exports[i]; i++)
		text_format(can_export(store, exports[i]->name) ? detail : &missing, "%s, ",
			exports[i]->name);
	text_append(detail, "path");
	if (missing.length) {
		text_truncate(&missing, missing.length - 2);
		text_format(detail, "; not %s", missing.data);
	}
	return true;
}

static const struct doctor_probe probes[] = {
	{"kvm", doctor_find_kvm},
	{"firecracker", doctor_find_firecracker},
	{"qemu", doctor_find_qemu},
	{"fuse", doctor_find_fuse},
	{"reflink", find_reflink},
	{"device-mapper", doctor_find_device_mapper},
	{"nbd", doctor_find_nbd},
	{"ublk", doctor_find_ublk},
	{"io_uring", doctor_find_io_uring},
	{"landlock", doctor_find_landlock},
	{"server", doctor_find_server},
	{"exports", find_exports},
};

/* The first provider of the table that could serve some base here: what "auto" takes for ext4. */
static const char *recommend(struct ramet_store *store)
{
	const struct volume_place place = place_of(store);
	char reason[VOLUME_REASON_SIZE];
	for (size_t i = 0; volume_providers[i]; i++)
		if (volume_providers[i]->probe(&place, NULL, 0, reason))
			return volume_providers[i]->name;
	return volume_file.name;
}

int ramet_doctor(struct ramet_store *store, ramet_finding_fn each, void *ctx,
	const char **recommended, struct ramet_error *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < sizeof probes / sizeof *probes; i++) {
		_cleanup_text_ struct text detail = {0}, advice = {0};
		bool ok = probes[i].find(store, &detail, &advice);
		if (detail.failed || advice.failed)
			return error_memory(err);
		r = each(ctx, &(struct ramet_finding){
				      .name = probes[i].name,
				      .ok = ok,
				      .detail = detail.data ? detail.data : "",
				      .advice = ok || !advice.data ? "" : advice.data,
			      });
	}
	if (r == 0)
		*recommended = recommend(store);
	return r;
}
