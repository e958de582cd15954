/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The merged view of an overlay. A reference says in its top two bits what it names: something of
 * the lower tree, something of the upper one, or a node of a table for what is made of both (a
 * merged directory; a file with its metadata above and its content below). Things of the lower tree
 * keep their reference, so that whole subtrees that nobody touched are handed through.
 *
 * As in the kernel's fs/overlayfs/{namei,readdir,util,xattrs}.c: a 0/0 character device in the
 * upper tree hides what is below; a directory that is opaque ("y") is not merged; a redirect names
 * the directory to merge with, from the root of the lower tree or in the directory's own parent;
 * trusted.overlay.* is hidden, and trusted.overlay.overlay.* is what a user called
 * trusted.overlay.*. Whiteouts by attribute are a thing of lower layers alone: what the upper tree
 * says of them means nothing to the kernel, nor here. The lower tree is one layer: nothing in it
 * has a meaning for the overlay.
 *
 * No lower directory is merged twice (with an honest guest it is not), so a walk over the merged
 * tree is bounded by the sizes of both and the depth of the lower one.
 */
#include "image/overlay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "image/fs_inside.h"
#include "image/overlay_inside.h"
#include "source/overlay_names.h"

#define PREFIX OVERLAY_TRUSTED

static const fs_ref TAG_MASK = 3ULL << 62, TAG_UPPER = 1ULL << 62, TAG_NODE = 2ULL << 62;
static const fs_ref NO_REF = UINT64_MAX;

/* What is made of both trees. */
struct node {
	fs_ref upper, lower;
};

struct overlay {
	struct fs fs;
	struct fs *lower, *upper;
	VECTOR(struct node) nodes; /* the first is the root */
	struct fs_places known;    /* upper reference + 1 -> its node */
	struct fs_places merged;   /* lower directory + 1 -> the upper one it is merged with */
};

/* A reference taken apart: the view and the reference that metadata and content come from. */
struct origin {
	struct fs *fs;
	fs_ref ref;
	struct fs *data_fs;
	fs_ref data_ref;
	struct node *node;
};

static int resolve(struct overlay *o, fs_ref ref, struct origin *origin, struct ramet_error *err)
{
	fs_ref plain = ref & ~TAG_MASK;
	*origin = (struct origin){.fs = o->lower, .ref = plain};
	if ((ref & TAG_MASK) == TAG_NODE) {
		if (plain >= o->nodes.count)
			return error_set(err, EINVAL, "the overlay has no node %llu",
				(unsigned long long)plain);
		origin->node = &o->nodes.items[plain];
		origin->fs = o->upper;
		origin->ref = origin->node->upper;
		origin->data_fs = o->lower;
		origin->data_ref = origin->node->lower;
		return 0;
	}
	if ((ref & TAG_MASK) == TAG_UPPER)
		origin->fs = o->upper;
	origin->data_fs = origin->fs;
	origin->data_ref = origin->ref;
	return 0;
}

/* The reference of the node made of upper and lower, which is made when there is none. */
static int node_of(
	struct overlay *o, fs_ref upper, fs_ref lower, fs_ref *ref, struct ramet_error *err)
{
	const struct fs_place *known = fs_place_find(&o->known, upper + 1);
	if (known) {
		*ref = TAG_NODE | known->position;
		return 0;
	}
	size_t number = o->nodes.count;
	struct node *node = vector_push(&o->nodes);
	if (!node || fs_place_claim(&o->known, upper + 1, lower + 1, number) < 0)
		return error_memory(err);
	*node = (struct node){.upper = upper, .lower = lower};
	*ref = TAG_NODE | number;
	return 0;
}

/* The directory being listed, and what is in it below. */
struct merge {
	struct overlay *o;
	fs_ref lower_dir; /* NO_REF: nothing is below */
	struct fs_entries below;
	struct ramet_error *err;
};

/* Find the lower inode that name or its redirect leads to; NO_REF when there is none. */
static int find_below(
	struct merge *m, const char *name, const struct fs_xattr *redirect, fs_ref *found)
{
	*found = NO_REF;
	const char *path = redirect ? redirect->value : name;
	if (redirect && path[0] == '/') {
		struct ramet_error why;
		int r = fs_lookup(m->o->lower, path, found, &why);
		if (r == -ENOENT || r == -ENOTDIR) {
			*found = NO_REF;
			return 0;
		}
		return r < 0 ? error_set(m->err, -r, "%s", why.message) : 0;
	}
	const struct fs_entry *entry = fs_entries_find(&m->below, path);
	if (entry)
		*found = entry->ref;
	return 0;
}

/* Whether ref is a thing of the lower tree of this type. */
static int has_type(struct overlay *o, fs_ref *ref, uint32_t type, struct ramet_error *err)
{
	struct fs_stat stat;
	if (*ref == NO_REF)
		return 0;
	int r = o->lower->ops->stat(o->lower, *ref, &stat, err);
	if (r == 0 && (stat.mode & S_IFMT) != type)
		*ref = NO_REF;
	return r;
}

static int merge_dir(struct merge *m, struct fs_entry *entry, const struct fs_xattrs *xattrs)
{
	const struct fs_xattr *redirect = fs_xattrs_find(xattrs, PREFIX OVERLAY_REDIRECT);
	fs_ref upper = entry->ref, lower;
	entry->ref = TAG_UPPER | upper;
	if (overlay_opaque(xattrs) == 'y')
		return 0;
	int r = overlay_check_redirect(redirect, entry->name, m->err);
	if (r == 0)
		r = find_below(m, entry->name, redirect, &lower);
	if (r == 0)
		r = has_type(m->o, &lower, S_IFDIR, m->err);
	if (r < 0 || lower == NO_REF)
		return r;
	r = fs_place_claim(&m->o->merged, lower + 1, upper + 1, 0);
	if (r == -EUCLEAN)
		return error_set(m->err, EUCLEAN,
			"the overlay is damaged: \"%s\" is merged with a directory that another "
			"is merged with",
			entry->name);
	if (r < 0)
		return error_memory(m->err);
	return node_of(m->o, upper, lower, &entry->ref, m->err);
}

static int merge_file(struct merge *m, struct fs_entry *entry, const struct fs_xattrs *xattrs)
{
	const struct fs_xattr *redirect = fs_xattrs_find(xattrs, PREFIX OVERLAY_REDIRECT);
	fs_ref upper = entry->ref, lower;
	entry->ref = TAG_UPPER | upper;
	if (!fs_xattrs_find(xattrs, PREFIX OVERLAY_METACOPY))
		return 0;
	int r = overlay_check_redirect(redirect, entry->name, m->err);
	if (r == 0)
		r = find_below(m, entry->name, redirect, &lower);
	if (r == 0)
		r = has_type(m->o, &lower, S_IFREG, m->err);
	if (r < 0)
		return r;
	struct fs_stat above, below = {0};
	r = m->o->upper->ops->stat(m->o->upper, upper, &above, m->err);
	if (r == 0 && lower != NO_REF)
		r = m->o->lower->ops->stat(m->o->lower, lower, &below, m->err);
	if (r < 0)
		return r;
	if (lower == NO_REF || above.size != below.size)
		return error_set(m->err, EUCLEAN,
			"the overlay is damaged: \"%s\" has its content in a file of the base "
			"that is not there, or not as long",
			entry->name);
	return node_of(m->o, upper, lower, &entry->ref, m->err);
}

/* What an entry of the upper directory stands for. *hidden: it is a whiteout. */
static int merge_entry(struct merge *m, struct fs_entry *entry, bool *hidden)
{
	struct fs *upper = m->o->upper;
	struct fs_stat stat;
	*hidden = false;
	int r = upper->ops->stat(upper, entry->ref, &stat, m->err);
	if (r < 0)
		return r;
	entry->type = stat.mode & S_IFMT;
	if (!S_ISDIR(stat.mode) && !S_ISREG(stat.mode)) {
		*hidden = S_ISCHR(stat.mode) && stat.rdev_major == 0 && stat.rdev_minor == 0;
		entry->ref |= TAG_UPPER;
		return 0;
	}
	_cleanup_xattrs_ struct fs_xattrs xattrs = {0};
	r = upper->ops->xattrs(upper, entry->ref, &xattrs, m->err);
	if (r < 0)
		return r;
	return S_ISDIR(stat.mode) ? merge_dir(m, entry, &xattrs) : merge_file(m, entry, &xattrs);
}

/* Take the entries of both directories, in order of their names; the upper one hides the other. */
static int merge_entries(struct merge *m, struct fs_entries *above, struct fs_entries *out)
{
	out->items = calloc(above->count + m->below.count + 1, sizeof *out->items);
	if (!out->items)
		return error_memory(m->err);
	size_t a = 0, b = 0;
	while (a < above->count || b < m->below.count) {
		struct fs_entry *up = a < above->count ? &above->items[a] : NULL;
		struct fs_entry *low = b < m->below.count ? &m->below.items[b] : NULL;
		int order = !up ? 1 : !low ? -1 : strcmp(up->name, low->name);
		struct fs_entry *taken = order <= 0 ? up : low;
		a += order <= 0;
		b += order >= 0;
		bool hidden = false;
		if (taken == up) {
			int r = merge_entry(m, up, &hidden);
			if (r < 0)
				return r;
		}
		if (hidden)
			continue;
		out->items[out->count] = *taken;
		out->items[out->count++].name = NULL;
		/* Names below are still looked up (a redirect may lead to any): copy those. */
		char *name = taken == up ? TAKE_PTR(up->name) : strdup(low->name);
		if (!name) {
			out->count--;
			return error_memory(m->err);
		}
		out->items[out->count - 1].name = name;
	}
	return 0;
}

static int list_merged(struct merge *m, fs_ref upper_dir, struct fs_entries *entries)
{
	struct fs *lower = m->o->lower, *upper = m->o->upper;
	_cleanup_entries_ struct fs_entries above = {0}, all = {0};
	int r = upper->ops->list(upper, upper_dir, &above, m->err);
	if (r == 0 && m->lower_dir != NO_REF)
		r = lower->ops->list(lower, m->lower_dir, &m->below, m->err);
	if (r == 0)
		r = merge_entries(m, &above, &all);
	if (r < 0)
		return r;
	*entries = all;
	all = (struct fs_entries){0};
	return 0;
}

static int overlay_list(
	struct fs *fs, fs_ref dir, struct fs_entries *entries, struct ramet_error *err)
{
	struct overlay *o = (struct overlay *)fs;
	struct origin origin;
	int r = resolve(o, dir, &origin, err);
	if (r < 0)
		return r;
	if (origin.fs == o->lower)
		return o->lower->ops->list(o->lower, origin.ref, entries, err);
	struct merge m = {
		.o = o, .lower_dir = origin.node ? origin.node->lower : NO_REF, .err = err};
	r = list_merged(&m, origin.ref, entries);
	fs_entries_free(&m.below);
	return r;
}

static int overlay_root(struct fs *fs, fs_ref *root, struct ramet_error *err)
{
	*root = TAG_NODE;
	return 0;
}

static int overlay_stat(struct fs *fs, fs_ref ref, struct fs_stat *stat, struct ramet_error *err)
{
	struct overlay *o = (struct overlay *)fs;
	struct origin origin;
	int r = resolve(o, ref, &origin, err);
	if (r == 0)
		r = origin.fs->ops->stat(origin.fs, origin.ref, stat, err);
	if (r == 0 && origin.fs == o->upper)
		stat->inode |= TAG_UPPER;
	return r;
}

static int overlay_read(struct fs *fs, fs_ref ref, uint64_t offset, void *buffer, size_t length,
	size_t *done, struct ramet_error *err)
{
	struct origin origin;
	*done = 0;
	int r = resolve((struct overlay *)fs, ref, &origin, err);
	return r < 0 ? r
		     : origin.data_fs->ops->read(
			       origin.data_fs, origin.data_ref, offset, buffer, length, done, err);
}

static int overlay_extent(struct fs *fs, fs_ref ref, uint64_t offset, struct fs_extent *extent,
	struct ramet_error *err)
{
	struct origin origin;
	int r = resolve((struct overlay *)fs, ref, &origin, err);
	if (r == 0)
		r = origin.data_fs->ops->extent(
			origin.data_fs, origin.data_ref, offset, extent, err);
	/* In which of two images would it be? */
	if (r == 0)
		extent->device_offset = UINT64_MAX;
	return r;
}

static int overlay_readlink(struct fs *fs, fs_ref ref, char **target, struct ramet_error *err)
{
	struct origin origin;
	int r = resolve((struct overlay *)fs, ref, &origin, err);
	return r < 0 ? r : origin.fs->ops->readlink(origin.fs, origin.ref, target, err);
}

static int overlay_xattrs(
	struct fs *fs, fs_ref ref, struct fs_xattrs *xattrs, struct ramet_error *err)
{
	struct origin origin;
	int r = resolve((struct overlay *)fs, ref, &origin, err);
	_cleanup_xattrs_ struct fs_xattrs all = {0};
	if (r == 0)
		r = origin.fs->ops->xattrs(origin.fs, origin.ref, &all, err);
	if (r < 0)
		return r;
	if (origin.fs->ops->hides_overlay) {
		*xattrs = all;
		all = (struct fs_xattrs){0};
		return 0;
	}
	return overlay_show_xattrs(&all, xattrs, err);
}

/* What the upper tree has no part in is what it is below. */
static bool overlay_same(struct fs *fs, fs_ref ref, struct fs *other, fs_ref other_ref)
{
	struct overlay *o = (struct overlay *)fs;
	if (other == fs)
		return ref == other_ref;
	if (ref & TAG_MASK)
		return false;
	if (other == o->lower)
		return ref == other_ref;
	return o->lower->ops->same && o->lower->ops->same(o->lower, ref, other, other_ref);
}

static void overlay_close(struct fs *fs)
{
	struct overlay *o = (struct overlay *)fs;
	vector_free(&o->nodes);
	fs_places_free(&o->known);
	fs_places_free(&o->merged);
	free(o);
}

static const struct fs_ops overlay_ops = {
	.format = "overlay",
	.hides_overlay = true,
	.root = overlay_root,
	.stat = overlay_stat,
	.list = overlay_list,
	.read = overlay_read,
	.readlink = overlay_readlink,
	.xattrs = overlay_xattrs,
	.extent = overlay_extent,
	.same = overlay_same,
	.close = overlay_close,
};

int overlay_open(struct fs *lower, struct fs *upper, fs_ref upper_root, struct fs **fs,
	struct ramet_error *err)
{
	_cleanup_fs_ struct fs *view = calloc(1, sizeof(struct overlay));
	struct overlay *o = (struct overlay *)view;
	if (!o)
		return error_memory(err);
	o->fs.ops = &overlay_ops;
	o->lower = lower;
	o->upper = upper;
	fs_ref lower_root, root;
	int r = lower->ops->root(lower, &lower_root, err);
	if (r == 0)
		r = node_of(o, upper_root, lower_root, &root, err);
	if (r == 0 && fs_place_claim(&o->merged, lower_root + 1, upper_root + 1, 0) < 0)
		r = error_memory(err);
	if (r < 0)
		return r;
	*fs = TAKE_PTR(view);
	return 0;
}
