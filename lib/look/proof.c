/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata: the tree is walked once, and each name is kept, in some 80 bytes, for what can only
 * be said at the end (how many names a file has) and for reading content in the order in which it
 * stands in the image.
 */
#include "look/proof.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "look/proof_inside.h"
#include "look/walk.h"

int proof_path(const struct proof *proof, uint32_t directory, const char *name, struct text *path)
{
	const char *parts[4096];
	size_t count = 0;
	if (name)
		parts[count++] = name;
	for (; directory && count < ARRAY_SIZE(parts);
		directory = proof->directories.items[directory].parent)
		parts[count++] = proof->directories.items[directory].name;
	while (count) {
		text_append(path, "/");
		text_append(path, parts[--count]);
	}
	if (!path->length)
		text_append(path, "/");
	return path->failed ? -ENOMEM : 0;
}

static bool reports(const struct proof *proof)
{
	return proof->share->number == 0;
}

int proof_report(struct proof *proof, const char *path, const struct ramet_error *why,
	struct ramet_error *err)
{
	if (why->code == ENOMEM)
		return error_memory(err);
	if (why->code == EOPNOTSUPP)
		return error_set(err, why->code, "%s%s%s", path, *path ? ": " : "", why->message);
	report_add(&proof->result->report, path, why->message);
	return 0;
}

/* Of the metadata, which every share reads. */
static int finding(struct proof *proof, const char *path, const struct ramet_error *why,
	struct ramet_error *err)
{
	return reports(proof) ? proof_report(proof, path, why, err) : 0;
}

static int take_directory(struct proof *proof, const struct change_side *object, const char *name,
	unsigned depth, struct ramet_error *err)
{
	uint32_t number = (uint32_t)proof->directories.count;
	uint32_t parent = depth ? proof->open.items[depth - 1] : 0;
	struct proof_directory *directory = vector_push(&proof->directories);
	if (!directory)
		return error_memory(err);
	*directory = (struct proof_directory){
		.parent = parent, .nlink = object->stat.nlink, .name = name};
	if (depth)
		proof->directories.items[parent].below++;
	proof->open.count = depth;
	uint32_t *open = vector_push(&proof->open);
	if (!open)
		return error_memory(err);
	*open = number;
	return 0;
}

static int take_name(struct proof *proof, const struct change_side *object, const char *name,
	unsigned depth, struct ramet_error *err)
{
	struct proof_name *entry = vector_push(&proof->names);
	if (!entry)
		return error_memory(err);
	*entry = (struct proof_name){.name = name,
		.inode = object->stat.inode,
		.size = object->stat.size,
		.ref = object->ref,
		.directory = depth ? proof->open.items[depth - 1] : 0,
		.nlink = object->stat.nlink,
		.regular = S_ISREG(object->stat.mode)};
	return 0;
}

/* What stat did not read. */
static int check_object(
	struct proof *proof, const struct change_side *object, struct ramet_error *err)
{
	struct fs *fs = object->view->fs;
	struct ramet_error why = {0};
	_cleanup_xattrs_ struct fs_xattrs xattrs = {0};
	_cleanup_free_ char *target = NULL;
	int r = 0;
	if (fs->ops->xattrs(fs, object->ref, &xattrs, &why) < 0)
		r = finding(proof, object->path, &why, err);
	if (r < 0 || !S_ISLNK(object->stat.mode))
		return r;
	if (fs->ops->readlink(fs, object->ref, &target, &why) < 0)
		return finding(proof, object->path, &why, err);
	if (strlen(target) == object->stat.size)
		return 0;
	error_set(&why, EUCLEAN, "its target has %zu bytes, and it says %llu", strlen(target),
		(unsigned long long)object->stat.size);
	return finding(proof, object->path, &why, err);
}

static int take_object(
	void *ctx, const struct change_side *object, unsigned depth, struct ramet_error *err)
{
	struct proof *proof = ctx;
	const char *last = strrchr(object->path, '/') + 1;
	char *name = arena_copy(&proof->arena, last, strlen(last));
	if (!name)
		return error_memory(err);
	proof->result->entries++;
	int r = reports(proof) ? check_object(proof, object, err) : 0;
	if (r < 0)
		return r;
	return S_ISDIR(object->stat.mode) ? take_directory(proof, object, name, depth, err)
					  : take_name(proof, object, name, depth, err);
}

static int take_failure(
	void *ctx, const char *path, const struct ramet_error *why, struct ramet_error *err)
{
	return finding(ctx, path, why, err);
}

static int prove(struct proof *proof, struct ramet_error *err)
{
	static const struct walk_visitor visitor = {.each = take_object, .failed = take_failure};
	fs_ref root;
	struct ramet_error why = {0};
	int r = proof->view->fs->ops->root(proof->view->fs, &root, &why);
	if (r < 0)
		return finding(proof, "/", &why, err);
	if (look_walk(proof->view, root, "/", &visitor, proof, &why) < 0)
		r = finding(proof, "", &why, err);
	if (r == 0)
		r = proof_check_names(proof, err);
	return r < 0 ? r : proof_read_content(proof, err);
}

int look_prove(const struct changes_view *view, const struct image_facts *facts,
	const struct proof_share *share, struct proof_result *result, struct ramet_error *err)
{
	struct proof proof = {.view = view, .facts = facts, .share = share, .result = result};
	int r = prove(&proof, err);
	arena_free(&proof.arena);
	vector_free(&proof.directories);
	vector_free(&proof.names);
	vector_free(&proof.open);
	return r;
}
