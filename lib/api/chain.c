/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer holds only what differs from the images that it was made to stand on; over any others it
 * makes a tree that nobody meant. Where the catalogue knows what a layer was made for, nothing else
 * goes below it: the same rows, or files of the same digest (a copy, a moved file). Of a layer from
 * elsewhere nothing is known, and the user's word is taken.
 */
#include "api/chain.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "api/lazy_base.h"
#include "base/cleanup.h"
#include "base/vector.h"
#include "image/lazy_view.h"

void chain_free(struct chain *chain)
{
	for (size_t i = 0; i < chain->count; i++) {
		lazy_feed_close(chain->items[i].feed);
		cleanup_close(&chain->items[i].fd);
		store_image_free(&chain->items[i].image);
	}
	vector_free(chain);
}

/* What the file is: an image, or a lazy one, whose format its header says. */
static int identify(struct chain_image *item, struct ramet_error *err)
{
	item->lazy = lazy_probe(item->fd);
	return item->lazy ? lazy_format(item->fd, item->path, &item->format, err)
			  : image_identify(item->fd, item->path, &item->format, err);
}

/* The image's row; one that ramet did not build is looked at and gets one. */
static int find_row(struct ramet_store *store, struct chain_image *item, struct ramet_error *err)
{
	struct store_image *image = &item->image;
	int r = store ? store_image_find(store, item->fd, item->path, image, err) : 0;
	if (r < 0)
		return r;
	if (!store && fstat(item->fd, &image->st) < 0)
		return error_errno(err, errno, "cannot look at the image %s", item->path);
	if (!S_ISREG(image->st.st_mode))
		return error_set(err, EMEDIUMTYPE, "the image %s is not a file", item->path);
	if (image->id) {
		item->lazy = image->lazy;
		item->format = image_format_find(image->format);
		return item->format
			       ? 0
			       : error_set(err, ENOTSUP,
					 "the image %s is in a format, %s, that this ramet does not "
					 "know",
					 item->path, image->format);
	}
	r = identify(item, err);
	if (r < 0 || !store)
		return r;
	const struct store_image_facts facts = {.format = item->format->name, .lazy = item->lazy};
	return store_image_insert(store, image, &facts, err);
}

static int refuse_twice(const struct chain *chain, struct ramet_error *err)
{
	const struct chain_image *last = &chain->items[chain->count - 1];
	for (size_t i = 0; i + 1 < chain->count; i++) {
		const struct stat *st = &chain->items[i].image.st;
		if (st->st_dev == last->image.st.st_dev && st->st_ino == last->image.st.st_ino)
			return error_set(
				err, EINVAL, "the image %s is in the chain twice", last->path);
	}
	return 0;
}

static int add_image(
	struct ramet_store *store, struct chain *chain, const char *path, struct ramet_error *err)
{
	struct chain_image *item = vector_push(chain);
	if (!item)
		return error_memory(err);
	*item = (struct chain_image){.path = path};
	item->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (item->fd < 0)
		return error_errno(err, errno, "cannot open the image %s", path);
	int r = find_row(store, item, err);
	/* Who asks no store looks for himself, and gets what he could read anyway. */
	item->believed = !store || item->image.made;
	return r < 0 ? r : refuse_twice(chain, err);
}

static bool is_same_image(const struct store_layer *wanted, const struct store_image *given)
{
	return wanted->image == given->id ||
	       (*wanted->digest && strcmp(wanted->digest, given->digest) == 0) ||
	       /* A lazy image and what it was materialised to are one. */
	       (wanted->lazy && wanted->plain && strcmp(wanted->plain, given->path) == 0) ||
	       (given->lazy && given->plain && strcmp(given->plain, wanted->path) == 0);
}

void chain_write(struct text *text, const char *const *paths, size_t count)
{
	enum { SHOWN = 5 };
	for (size_t i = 0; i < count; i++) {
		if (count > SHOWN && i == 2) {
			text_append(text, "+...");
			i = count - 2;
		}
		text_append(text, i ? "+" : "");
		for (const char *c = paths[i]; *c; c++) {
			text_append(text, *c == '+' ? "\\" : "");
			text_append_bytes(text, c, 1);
		}
	}
	if (count > SHOWN)
		text_format(text, " (%zu images)", count);
}

/* Put together what is below a layer: from the chain, or from what it was made for. */
static int write_below(struct text *text, const struct chain *chain,
	const struct store_layers *parents, const char *top)
{
	size_t count = 0, below = parents ? parents->count : chain->count;
	_cleanup_free_ const char **paths = calloc(below + 1, sizeof *paths);
	if (!paths)
		return -ENOMEM;
	for (size_t i = 0; i < below; i++) {
		paths[i] = parents ? parents->items[i].path : chain->items[i].path;
		if (top && !parents && chain->items[i].path == top)
			break;
		count++;
	}
	if (top && parents)
		paths[count++] = top;
	chain_write(text, paths, count);
	return text->failed ? -ENOMEM : 0;
}

static int refuse_place(const struct chain *chain, size_t i, const struct store_layers *parents,
	struct ramet_error *err)
{
	const char *path = chain->items[i].path;
	for (size_t p = 0; p < parents->count; p++) {
		const struct store_layer *parent = &parents->items[p];
		if (strcmp(parent->state, "unchanged") != 0)
			return error_set(err, EINVAL,
				"the layer %s was made for %s as it was then, and that %s; make the "
				"layer again for what is there now",
				path, parent->path,
				strcmp(parent->state, "missing") == 0 ? "is gone"
								      : "was changed since");
	}
	_cleanup_text_ struct text made_for = {0};
	_cleanup_text_ struct text given = {0};
	_cleanup_text_ struct text right = {0};
	if (write_below(&made_for, chain, parents, NULL) < 0 ||
		write_below(&given, chain, NULL, path) < 0 ||
		write_below(&right, chain, parents, path) < 0)
		return error_memory(err);
	if (i == 0)
		return error_set(err, EINVAL,
			"the image %s is a layer, which holds only what differs from %s; write %s",
			path, made_for.data, right.data);
	return error_set(err, EINVAL, "the layer %s was made for %s, and not for %s; write %s",
		path, made_for.data, given.data, right.data);
}

static int check_place(
	struct ramet_store *store, const struct chain *chain, size_t i, struct ramet_error *err)
{
	_cleanup_layers_ struct store_layers parents = {0};
	int r = store_image_parents(store, chain->items[i].image.id, &parents, err);
	if (r < 0 || parents.count == 0)
		return r;
	bool fits = parents.count == i;
	for (size_t p = 0; fits && p < i; p++)
		fits = is_same_image(&parents.items[p], &chain->items[p].image);
	return fits ? 0 : refuse_place(chain, i, &parents, err);
}

static int check_count(const char *const *layers, struct ramet_error *err)
{
	size_t count = 1;
	for (size_t i = 0; layers && layers[i]; i++)
		count++;
	if (count <= RAMET_CHAIN_MAX)
		return 0;
	return error_set(err, E2BIG,
		"a chain has at most %d images, and this one has %zu; make one image of the lower "
		"ones: fork them, and 'ramet commit FORK IMAGE --flatten'",
		RAMET_CHAIN_MAX, count);
}

int chain_open(struct ramet_store *store, const char *base, const char *const *layers,
	struct chain *chain, struct ramet_error *err)
{
	*chain = (struct chain){.store = store};
	int r = check_count(layers, err);
	if (r == 0)
		r = add_image(store, chain, base, err);
	for (size_t i = 0; r == 0 && layers && layers[i]; i++)
		r = add_image(store, chain, layers[i], err);
	for (size_t i = 0; r == 0 && store && i < chain->count; i++)
		r = check_place(store, chain, i, err);
	return r;
}

int chain_feed(struct chain *chain, struct ramet_error *err)
{
	int r = 0;
	for (size_t i = 0; i < chain->count && r == 0; i++) {
		struct chain_image *item = &chain->items[i];
		if (item->lazy && !item->feed)
			r = lazy_base_feed(chain->store, item->image.id, item->fd, item->path,
				item->believed, &item->feed, err);
	}
	return r;
}

size_t chain_fds(const struct chain *chain, int fds[static CHAIN_FDS])
{
	size_t count = 0;
	for (size_t i = 0; i < chain->count; i++) {
		fds[count++] = chain->items[i].fd;
		if (chain->items[i].feed) {
			lazy_feed_fds(chain->items[i].feed, fds + count);
			count += LAZY_FEED_FDS;
		}
	}
	return count;
}

int chain_check_unchanged(const struct chain *chain, const char *doing, struct ramet_error *err)
{
	for (size_t i = 0; i < chain->count; i++) {
		const struct stat *st = &chain->items[i].image.st;
		const char *path = chain->items[i].path;
		const char *state = store_image_state(
			path, st->st_size, stat_mtime_ns(st), (int64_t)st->st_ino);
		if (strcmp(state, "unchanged") != 0)
			return error_set(err, ESTALE, "the %s %s was %s while it was being %s",
				i ? "layer" : "base", path,
				strcmp(state, "missing") == 0 ? "removed" : "changed", doing);
	}
	return 0;
}

int chain_facts(struct ramet_store *store, const struct chain *chain, char **read_only_paths,
	char **process, struct ramet_error *err)
{
	int64_t images[RAMET_CHAIN_MAX];
	for (size_t i = 0; i < chain->count; i++)
		images[i] = chain->items[i].image.id;
	return store_chain_facts(store, images, chain->count, read_only_paths, process, err);
}
