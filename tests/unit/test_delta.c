/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer laid over what it was made for is what it was made of: random trees and random edits of
 * them, all in memory, put together again by the merged view. $SEED repeats a run.
 */
#include <stddef.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "changes/layer.h"
#include "image/overlay.h"
#include "image/view.h"
#include "source/content.h"
#include "tests/unit/tap.h"

static uint64_t state;
static bool late; /* the edits, not the first tree */

static uint64_t number(uint64_t below)
{
	state = state * 6364136223846793005 + 1442695040888963407;
	return (state >> 33) % below;
}

/* Names that sort around '/': "a" and "a-b", "a.c". */
static const char *const names[] = {
	"a", "a-b", "a.c", "aa", "b", "b b", "c", "d!", "d", "e", "\xff", "usr", "lib", "lib64"};

static void fill(struct tree *tree, struct tree_node *node)
{
	static const char letters[] = "abcdefghijklmnop";
	node->flags = TREE_MEMORY;
	node->mtime = (int64_t)number(3);
	node->uid = (uint32_t)number(2);
	switch (node->mode & S_IFMT) {
	case S_IFREG:
		node->data = letters + number(4);
		node->size = number(5);
		break;
	case S_IFLNK:
		node->target = letters + number(4);
		node->size = 1 + number(3);
		node->target = arena_copy(&tree->arena, node->target, node->size);
		break;
	case S_IFCHR:
		node->rdev = makedev(1, (unsigned)number(2));
		break;
	}
	if (number(5) == 0) {
		node->xattrs = arena_alloc(&tree->arena, sizeof *node->xattrs);
		node->xattrs->name = late && number(2) ? "trusted.overlay.opaque" : "user.x";
		node->xattrs->value = "yn" + number(2);
		node->xattrs->size = 1;
	}
}

static struct tree_node *make(struct tree *tree, const char *name)
{
	static const uint32_t modes[] = {S_IFDIR | 0755, S_IFDIR | 0700, S_IFDIR | 0755,
		S_IFREG | 0644, S_IFREG | 0600, S_IFREG | 0644, S_IFLNK | 0777, S_IFCHR | 0666,
		S_IFIFO | 0600};
	struct tree_node *node = tree_node_new(tree, name, strlen(name));
	node->mode = (uint16_t)modes[number(ARRAY_SIZE(modes))];
	fill(tree, node);
	return node;
}

static struct tree_node *any_directory(struct tree *tree)
{
	struct tree_node *found = tree->root, *node;
	unsigned seen = 1;
	for (node = tree->root; node; node = tree_next(node))
		if (S_ISDIR(node->mode) && number(++seen) == 0)
			found = node;
	return found;
}

static struct tree_node *any_file(struct tree *tree)
{
	struct tree_node *found = NULL, *node;
	unsigned seen = 0;
	for (node = tree->root; node; node = tree_next(node))
		if (S_ISREG(node->mode) && number(++seen) == 0)
			found = node;
	return found;
}

static void take_away(struct tree_node *node)
{
	struct tree_node **place = &node->parent->first;
	while (*place != node)
		place = &(*place)->next;
	*place = node->next;
}

/* One more name for a file. */
static void link_to(struct tree *tree, struct tree_node *file, struct tree_node *directory)
{
	const char *name = names[number(ARRAY_SIZE(names))];
	if (tree_find(directory, name))
		return;
	static uint64_t inode;
	if (!(file->flags & TREE_LINKED)) {
		file->host_inode = ++inode;
		file->flags |= TREE_LINKED;
	}
	struct tree_node *node = tree_node_new(tree, name, strlen(name));
	memcpy(node, file, offsetof(struct tree_node, name));
	tree_insert(directory, node);
}

static void edit(struct tree *tree)
{
	struct tree_node *directory = any_directory(tree), *file = any_file(tree);
	const char *name = names[number(ARRAY_SIZE(names))];
	struct tree_node *node = tree_find(directory, name);
	switch (number(6)) {
	case 0:
	case 1:
	case 2:
		tree_insert(directory, make(tree, name));
		break;
	case 3:
		if (node)
			take_away(node);
		break;
	case 4:
		if (node)
			node->mode ^= 0111;
		break;
	default:
		if (file)
			link_to(tree, file, directory);
	}
}

/* Names of one file say the same of it. */
static void settle(struct tree *tree)
{
	for (struct tree_node *a = tree->root; a; a = tree_next(a))
		for (struct tree_node *b = tree->root; b && (a->flags & TREE_LINKED);
			b = tree_next(b))
			if (a != b && (b->flags & TREE_LINKED) && a->host_inode == b->host_inode) {
				b->mode = a->mode;
				b->uid = a->uid;
				b->xattrs = a->xattrs;
			}
}

static struct tree *grow(uint64_t seed, unsigned first, unsigned then)
{
	struct ramet_error err = {0};
	struct tree *tree = NULL;
	CHECK_EQ(tree_new(&tree, &err), 0);
	CHECK_EQ(tree_device_index(tree, 0), 0);
	state = seed;
	tree->root = tree_node_new(tree, "", 0);
	tree->root->mode = S_IFDIR | 0755;
	for (unsigned i = 0; i < first + then; i++) {
		late = i >= first;
		edit(tree);
	}
	settle(tree);
	CHECK_EQ(tree_finish(tree, &err), 0);
	return tree;
}

static int each(void *ctx, const struct change *change, struct ramet_error *err)
{
	text_format(ctx, "%c %s (%x)\n", change->kind, change->path, change->what);
	return 0;
}

static void compare(struct fs *a, struct fs *b, struct text *differences)
{
	static const struct changes_visitor visitor = {.each = each};
	const struct changes_limits limits = {0};
	const struct changes_options options = {.limits = &limits};
	const struct changes_view old = {a, "the merged view"}, new = {b, "the new tree"};
	struct ramet_error err = {0};
	text_append(differences, "");
	CHECK_EQ(changes_walk(&old, &new, &options, &visitor, differences, &err), 0);
	CHECK_STR(err.message, "");
}

/* Files with several names in the new tree have them in the merged one: all of them, or as many as
 * nothing was done to. */
static void check_links(struct tree *tree, struct fs *merged)
{
	struct ramet_error err = {0};
	for (struct tree_node *node = tree->root; node; node = tree_next(node)) {
		struct tree_node *inode = tree_link(node);
		if (!inode)
			continue;
		_cleanup_text_ struct text a = {0}, b = {0};
		tree_path(node, &a);
		tree_path(inode, &b);
		fs_ref x = 0, y = 0;
		struct fs_stat sx = {0}, sy = {0};
		CHECK_EQ(fs_lookup(merged, a.data, &x, &err), 0);
		CHECK_EQ(fs_lookup(merged, b.data, &y, &err), 0);
		CHECK_EQ(merged->ops->stat(merged, x, &sx, &err), 0);
		CHECK_EQ(merged->ops->stat(merged, y, &sy, &err), 0);
		CHECK_EQ(sx.inode, sy.inode);
	}
}

static void once(uint64_t seed)
{
	struct ramet_error err = {0};
	unsigned first = seed % 60, then = seed / 60 % 40;
	_cleanup_tree_ struct tree *old = grow(seed, first, 0), *new = grow(seed, first, then),
				   *layer = grow(seed, first, then);
	_cleanup_fs_ struct fs *old_fs = NULL, *new_fs = NULL, *layer_fs = NULL, *merged = NULL,
			       *top = NULL;
	REQUIRE(view_of_tree(old, &old_fs, &err) == 0 && view_of_tree(new, &new_fs, &err) == 0 &&
		view_of_tree(layer, &layer_fs, &err) == 0);
	const struct changes_view from = {old_fs, "old"}, to = {layer_fs, "new"};
	const struct layer_options options = {.new_is_tree = true};
	struct layer_figures figures;
	CHECK_EQ(layer_make(&from, &to, layer, &options, &figures, &err), 0);
	CHECK_STR(err.message, "");
	REQUIRE(view_of_tree(layer, &top, &err) == 0);
	fs_ref root;
	CHECK_EQ(top->ops->root(top, &root, &err), 0);
	REQUIRE(overlay_open(old_fs, top, root, &merged, &err) == 0);
	_cleanup_text_ struct text differences = {0};
	compare(merged, new_fs, &differences);
	CHECK_STR(differences.data, "");
	check_links(new, merged);
	if (then == 0)
		CHECK(!layer->root->first);
}

static void test_random(void)
{
	uint64_t seed = tap_seed();
	for (uint64_t i = 0; i < 3000 && !tap_failed; i++) {
		once(seed * 3000 + i);
		if (tap_failed)
			printf("# run %llu\n", (unsigned long long)i);
	}
}

TEST_MAIN({"a layer over what it was made for is what it was made of", test_random})
