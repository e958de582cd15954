/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed EROFS images are mkfs.erofs's work: its formats of compressed data have changed with
 * nearly every release of the kernel. It takes a folder of the host and nothing else, so only a tree
 * that is such a folder as it stands can be given to it. What it can do is found out by asking it:
 * its help ends in a list of compressors.
 *
 * Some releases leave out what they cannot store (1.5: names of 255 bytes). So the image is read
 * afterwards, and each entry held against the tree; and each file of the source is looked at once
 * more.
 */
#include "image/erofs_compress.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/program.h"
#include "image/erofs_plan.h"
#include "image/erofs_reader.h"
#include "source/content.h"

#define HELP_MS 10000

struct tool {
	struct text path, help;
	const char *compressors; /* the list, in help */
};

static void tool_release(struct tool *tool)
{
	text_free(&tool->path);
	text_free(&tool->help);
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Whether list has the word, whatever stands between its words. */
static bool has_word(const char *list, const char *word, size_t length)
{
	for (const char *at = list; (at = strstr(at, word)); at++)
		if ((at == list || !is_word(at[-1])) && !is_word(at[length]))
			return true;
	return false;
}

/* "mkfs.erofs 1.5": how it calls itself in its first line, or just its name. */
static void note_name(const struct tool *tool, char *name, size_t size)
{
	const char *found = tool->help.data ? strstr(tool->help.data, "mkfs.erofs ") : NULL;
	size_t length = found ? strcspn(found, "\n") : 0;
	if (found && length < size && strpbrk(found, "0123456789") < found + length)
		snprintf(name, size, "%.*s", (int)length, found);
	else
		snprintf(name, size, "mkfs.erofs");
	text_disarm(name);
}

/* What it answers is told by what it says: 1.5 knows no -V and says its version all the same. */
static int ask(struct tool *tool, const char *option, struct ramet_error *err)
{
	const char *const argv[] = {tool->path.data, option, NULL};
	const struct program program = {.argv = argv, .timeout_ms = HELP_MS};
	int status;
	return program_run(&program, &tool->help, &status, err);
}

static int find_tool(struct tool *tool, char *name, size_t size, struct ramet_error *err)
{
	if (!program_find("mkfs.erofs", &tool->path))
		return error_set(err, EOPNOTSUPP,
			"only mkfs.erofs compresses erofs images, and it is not in PATH; install "
			"erofs-utils, leave the compression away, or build a squashfs");
	int r = ask(tool, "-V", err);
	if (r == 0)
		r = ask(tool, "--help", err);
	if (r < 0)
		return r;
	note_name(tool, name, size);
	const char *list = tool->help.data ? strstr(tool->help.data, "vailable compressors") : NULL;
	const char *colon = list ? strchr(list, ':') : NULL;
	if (!colon)
		return error_set(err, EOPNOTSUPP,
			"%s does not tell which compressors it has: it was built without any",
			name);
	tool->compressors = colon + 1;
	return 0;
}

/* "lz4hc:9" -> "-zlz4hc,9" */
static int compressor_option(const struct tool *tool, const char *name, const char *compression,
	struct text *option, struct ramet_error *err)
{
	_cleanup_free_ char *word = strdup(compression);
	if (!word)
		return error_memory(err);
	char *colon = strchr(word, ':');
	if (colon)
		*colon = '\0';
	uint64_t level;
	if (!*word || !has_word(tool->compressors, word, strlen(word))) {
		char list[128];
		snprintf(list, sizeof list, "%s",
			tool->compressors + strspn(tool->compressors, " \n"));
		list[strcspn(list, "\n")] = '\0';
		return error_set(err, EINVAL, "%s cannot compress with '%s'; it has %s", name, word,
			text_disarm(list));
	}
	if (colon && text_parse_uint(colon + 1, 99, &level) < 0)
		return error_set(err, EINVAL, "'%s' is not a compressor and a level", compression);
	text_format(option, "-z%s%s%s", word, colon ? "," : "", colon ? colon + 1 : "");
	return option->failed ? error_memory(err) : 0;
}

/* The first line of what it said, which is nearest to the cause, without its own marks. */
static const char *first_line(struct text *output)
{
	if (!output->length)
		return "it does not say why";
	text_truncate(output, strcspn(output->data, "\n"));
	const char *mark = strncmp(output->data, "<E> ", 4) == 0 ? strstr(output->data, ": ")
								 : NULL;
	text_disarm(output->data);
	return mark ? mark + 2 : output->data;
}

static int run_tool(const struct tool *tool, const char *name, const char *compressor,
	const char *time, const char *uuid, struct tree *tree, int fd, struct ramet_error *err)
{
	char image[32], folder[32];
	int source = tree->origins.items[0].fd;
	snprintf(image, sizeof image, "/proc/self/fd/%d", fd);
	snprintf(folder, sizeof folder, "/proc/self/fd/%d", source);
	const char *const argv[] = {
		tool->path.data, "--quiet", compressor, uuid, image, folder, NULL};
	const int fds[] = {fd, source};
	const struct program program = {
		.argv = argv, .fds = fds, .fd_count = ARRAY_SIZE(fds), .variable = time};
	_cleanup_text_ struct text output = {0};
	int status;
	int r = program_run(&program, &output, &status, err);
	if (r < 0)
		return r;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return error_set(err, EIO, "%s failed: %s", name, first_line(&output));
	return 0;
}

static int differs(const struct tree_node *node, const char *name, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	tree_path(node, &path);
	return error_set(err, EIO,
		"%s did not store %s as it is; leave the compression away, or build a squashfs",
		name, path.failed ? "a file" : path.data);
}

static bool same_attributes(const struct fs_xattrs *xattrs, const struct tree_node *node)
{
	size_t count = 0;
	for (const struct tree_xattr *x = node->xattrs; x; x = x->next, count++) {
		const struct fs_xattr *there = fs_xattrs_find(xattrs, x->name);
		if (!there || there->size != x->size ||
			memcmp(there->value, x->value, x->size) != 0)
			return false;
	}
	return count == xattrs->count;
}

static bool same_inode(const struct fs_stat *stat, struct tree_node *node)
{
	const struct tree_node *inode = tree_inode(node);
	bool sized = S_ISREG(inode->mode) || S_ISLNK(inode->mode);
	bool device = S_ISBLK(inode->mode) || S_ISCHR(inode->mode);
	return stat->mode == inode->mode && stat->uid == inode->uid && stat->gid == inode->gid &&
	       stat->mtime == inode->mtime && stat->mtime_nsec == inode->mtime_nsec &&
	       (S_ISDIR(inode->mode) || stat->nlink == inode->nlink) &&
	       (!sized || stat->size == inode->size) &&
	       (!device || (stat->rdev_major == major(inode->rdev) &&
				   stat->rdev_minor == minor(inode->rdev)));
}

/* One entry against its node; a directory's reference is noted for its own entries' turn. */
static int check_node(struct fs *fs, fs_ref ref, struct tree_node *node, const char *name,
	struct ramet_error *err)
{
	struct fs_stat stat;
	_cleanup_xattrs_ struct fs_xattrs xattrs = {0};
	int r = fs->ops->stat(fs, ref, &stat, err);
	if (r == 0)
		r = fs->ops->xattrs(fs, ref, &xattrs, err);
	if (r < 0)
		return r;
	if (!same_inode(&stat, node) || !same_attributes(&xattrs, tree_inode(node)))
		return differs(node, name, err);
	if (S_ISDIR(node->mode))
		node->place = ref;
	return 0;
}

static int check_directory(
	struct fs *fs, struct tree_node *node, const char *name, struct ramet_error *err)
{
	_cleanup_entries_ struct fs_entries entries = {0};
	int r = fs->ops->list(fs, node->place, &entries, err);
	size_t i = 0;
	for (struct tree_node *child = node->first; child && r == 0; child = child->next, i++) {
		if (i == entries.count || strcmp(entries.items[i].name, child->name) != 0)
			return differs(child, name, err);
		r = check_node(fs, entries.items[i].ref, child, name, err);
	}
	return r == 0 && i < entries.count ? differs(node, name, err) : r;
}

static int check_image(struct tree *tree, int fd, const char *name, struct ramet_error *err)
{
	_cleanup_fs_ struct fs *fs = NULL;
	fs_ref root;
	int r = erofs_open(fd, &fs, err);
	if (r == 0)
		r = fs->ops->root(fs, &root, err);
	if (r == 0)
		r = check_node(fs, root, tree->root, name, err);
	for (struct tree_node *node = tree->root; node && r == 0; node = tree_next(node))
		if (S_ISDIR(node->mode))
			r = check_directory(fs, node, name, err);
	return r;
}

/* Each file is still what the walk saw: opening it looks. */
static int check_source(struct tree *tree, struct ramet_error *err)
{
	_cleanup_content_order_ struct content_order order = {0};
	const struct tree_node *node;
	int r = tree_content_order(tree, &order, err);
	while (r == 0 && (node = content_order_next(&order))) {
		_cleanup_content_ struct content content;
		r = content_open(&content, tree, node, err);
	}
	return r;
}

/* The time is given by a variable, and files that are as new get it (1.5): so it is one second after
 * the newest file's where that is later than the time of our own images. */
static void choose_time(const struct erofs_plan *plan, char time[static 48])
{
	int64_t latest = plan->time;
	for (struct tree_node *node = plan->tree->root; node; node = tree_next(node))
		latest = MAX(latest, (int64_t)node->mtime + 1);
	snprintf(time, 48, "SOURCE_DATE_EPOCH=%" PRId64, latest);
}

/* The time, and the UUID that our own image of the tree would have. */
static int identify(
	struct tree *tree, char time[static 48], char uuid[static 48], struct ramet_error *err)
{
	struct erofs_plan plan;
	uint8_t bytes[16];
	int r = erofs_plan_make(&plan, tree, &(struct erofs_plan_options){0}, err);
	if (r == 0)
		r = erofs_plan_uuid(&plan, bytes, err);
	if (r == 0) {
		choose_time(&plan, time);
		size_t used = (size_t)snprintf(uuid, 48, "-U");
		for (int i = 0; i < 16; i++) {
			const char *dash = i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";
			used += (size_t)snprintf(uuid + used, 48 - used, "%s%02x", dash, bytes[i]);
		}
	}
	erofs_plan_free(&plan);
	return r;
}

static int refuse(const struct image_options *options, struct ramet_error *err)
{
	if (options->dedupe)
		return error_set(err, EINVAL,
			"--dedupe is for erofs images that are not compressed: leave one of the two "
			"away");
	if (!options->plain_directory)
		return error_set(err, EOPNOTSUPP,
			"only mkfs.erofs compresses erofs images, and it takes one folder of this "
			"host as it is: leave the compression away, or layers, binds and --init, or "
			"build a squashfs");
	return 0;
}

int erofs_compress(struct tree *tree, int fd, const struct image_options *options,
	struct image_figures *figures, struct ramet_error *err)
{
	int r = refuse(options, err);
	if (r < 0)
		return r;
	__attribute__((cleanup(tool_release))) struct tool tool = {0};
	_cleanup_text_ struct text compressor = {0};
	char *name = figures->written_by, time[48], uuid[48];
	r = find_tool(&tool, name, sizeof figures->written_by, err);
	if (r == 0)
		r = compressor_option(&tool, name, options->compression, &compressor, err);
	if (r == 0)
		r = identify(tree, time, uuid, err);
	if (r == 0)
		r = run_tool(&tool, name, compressor.data, time, uuid, tree, fd, err);
	if (r == 0)
		r = check_image(tree, fd, name, err);
	if (r == 0)
		r = check_source(tree, err);
	struct stat st;
	if (r == 0 && fstat(fd, &st) < 0)
		return error_errno(err, errno, "cannot look at the image");
	figures->bytes_read = tree->content_bytes;
	figures->image_bytes = r == 0 ? (uint64_t)st.st_size : 0;
	return r;
}
