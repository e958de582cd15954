/* SPDX-License-Identifier: Apache-2.0 */
#include "changes/views.h"

#include "base/cleanup.h"
#include "image/ext4_reader.h"
#include "image/image.h"
#include "image/overlay.h"
#include "init/names.h"

/* The directory of the volume that the guest's overlay writes to. *found is false for a volume that
 * no VM has used yet. */
static int find_upper(struct fs *volume, fs_ref *upper, bool *found, struct ramet_error *err)
{
	_cleanup_entries_ struct fs_entries entries = {0};
	fs_ref root;
	int r = volume->ops->root(volume, &root, err);
	if (r == 0)
		r = volume->ops->list(volume, root, &entries, err);
	if (r < 0)
		return r;
	const struct fs_entry *entry = fs_entries_find(&entries, INIT_VOLUME_UPPER);
	*found = entry != NULL;
	if (!entry)
		return 0;
	struct fs_stat stat;
	*upper = entry->ref;
	r = volume->ops->stat(volume, *upper, &stat, err);
	if (r == 0 && !S_ISDIR(stat.mode))
		return error_set(err, EUCLEAN, "its /" INIT_VOLUME_UPPER " is not a directory");
	return r;
}

static int open_volume(const struct views_source *source, struct views *views, struct fs **now,
	struct ramet_error *err)
{
	int r = ext4_open(source->volume_fd, &views->volume, &views->replayed, err);
	if (r < 0)
		return r;
	*now = views->volume;
	if (source->clone) {
		ext4_set_differences(views->volume, source->differences);
		return 0;
	}
	fs_ref upper;
	bool found;
	r = find_upper(views->volume, &upper, &found, err);
	if (r < 0)
		return r;
	*now = views->base.fs;
	if (!found)
		return 0;
	r = overlay_open(views->base.fs, views->volume, upper, &views->merged, err);
	*now = views->merged;
	return r;
}

int views_open(const struct views_source *source, struct views *views, struct ramet_error *err)
{
	*views = (struct views){0};
	struct fs *now = NULL;
	int r = stack_open(source->images, source->image_count, &views->base, err);
	if (r == 0) {
		r = open_volume(source, views, &now, err);
		if (r < 0)
			error_prefix(err, r, "%s", source->volume_name);
	}
	if (r < 0) {
		views_close(views);
		return r;
	}
	views->old = (struct changes_view){views->base.fs, source->base_name};
	views->new = (struct changes_view){now, source->volume_name};
	return 0;
}

void views_close(struct views *views)
{
	fs_close(TAKE_PTR(views->merged));
	fs_close(TAKE_PTR(views->volume));
	stack_close(&views->base);
}
