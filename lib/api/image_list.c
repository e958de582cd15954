/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "api/place.h"
#include "base/cleanup.h"
#include "look/look.h"

struct list {
	const struct ramet_list_options *options;
	struct place place;
	struct listing listing;
};

static int list_in_view(struct list *list, const struct changes_view *view, struct ramet_error *err)
{
	struct sink sink;
	fs_ref ref;
	_cleanup_free_ char *real = NULL;
	int r = fs_resolve(view->fs, list->options->place.path, false, &ref, &real, err);
	if (r < 0)
		return error_prefix(err, r, "%s", view->name);
	r = sink_open(&sink, list->options->fd, err);
	if (r == 0)
		r = look_list(view, ref, real, &list->listing, &sink, err);
	sink_free(&sink);
	return r;
}

static int list_work(void *ctx, struct ramet_error *err)
{
	struct list *list = ctx;
	_cleanup_place_view_ struct place_view view = {0};
	int r = place_view_open(&list->place, &view, err);
	return r < 0 ? r : list_in_view(list, &view.view, err);
}

int ramet_image_list(
	const struct ramet_list_options *options, uint64_t *entries, struct ramet_error *err)
{
	struct list list = {.options = options,
		.listing = {.form = listing_form_find(options->form),
			.recursive = options->recursive,
			.disarm = options->disarm}};
	if (!list.listing.form)
		return error_set(err, EINVAL, "a listing cannot be written as '%s'", options->form);
	int r = place_open(&list.place, &options->place, err);
	if (r == 0)
		r = place_run(&list.place, list_work, &list, options->fd, &list.listing.entries,
			sizeof list.listing.entries, err);
	place_close(&list.place);
	if (r == 0 && entries)
		*entries = list.listing.entries;
	return r;
}
