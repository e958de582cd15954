/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Archives of `docker save`, old (one folder a layer) and new (an OCI layout with a manifest.json
 * beside it), and those of skopeo, podman and others. In all of them manifest.json names the
 * configuration and the layers, which may stand anywhere in the archive, and which old versions of
 * Docker write once and then link to.
 *
 * Of a compressed archive every layer is read from the archive's beginning: nothing is unpacked to
 * disk for it, and time is paid instead.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "source/image_layers.h"
#include "source/members.h"
#include "source/oci.h"

#define MANIFEST "manifest.json"

struct archive_image {
	struct image_source *image;
	const struct source_request *request;
	struct members members;
	struct docker_manifest manifest;
	struct oci_config config;
	struct text manifest_name, config_name;
};

static void archive_image_free(struct archive_image *archive)
{
	docker_manifest_free(&archive->manifest);
	oci_config_free(&archive->config);
	members_free(&archive->members);
	text_free(&archive->manifest_name);
	text_free(&archive->config_name);
}

/* ------------------------------------------------------------------------------------------- */
/* Which image.                                                                                 */

/* A tag without what goes without saying: the registry and folder of Docker, and ":latest". */
static void plain_tag(const char *tag, char buffer[static 320])
{
	static const char *const before[] = {"docker.io/", "library/"};
	for (size_t i = 0; i < ARRAY_SIZE(before); i++)
		if (strncmp(tag, before[i], strlen(before[i])) == 0)
			tag += strlen(before[i]);
	const char *slash = strrchr(tag, '/');
	snprintf(buffer, 320, "%.300s%s", tag, strchr(slash ? slash : tag, ':') ? "" : ":latest");
}

/* The digest that a Config's or a layer's name says: "blobs/sha256/HEX", "HEX.json", "sha256:HEX". */
static bool digest_of_name(const char *name, struct digest *digest)
{
	char text[DIGEST_TEXT_MAX];
	size_t hex = 2 * SHA256_DIGEST_SIZE;
	if (strncmp(name, "blobs/sha256/", 13) == 0)
		name += 13;
	else if (strncmp(name, "sha256:", 7) == 0)
		name += 7;
	else if (strlen(name) != hex + 5 || strcmp(name + hex, ".json") != 0)
		return false;
	if (strlen(name) < hex || (name[hex] && strcmp(name + hex, ".json") != 0))
		return false;
	snprintf(text, sizeof text, "sha256:%.*s", (int)hex, name);
	return digest_parse(text, digest) == 0;
}

static bool is_called(const struct docker_image *image, const char *ref)
{
	char wanted[320], tag[320], word[DIGEST_TEXT_MAX];
	struct digest digest;
	plain_tag(ref, wanted);
	for (size_t i = 0; i < image->tags.count; i++) {
		plain_tag(image->tags.items[i], tag);
		if (strcmp(tag, wanted) == 0)
			return true;
	}
	return digest_of_name(image->config, &digest) &&
	       strcmp(digest_text(&digest, word), ref) == 0;
}

static void append_images(const struct docker_manifest *manifest, struct text *list)
{
	for (size_t i = 0; i < manifest->images.count && i < 20; i++) {
		const struct docker_image *image = &manifest->images.items[i];
		struct digest digest;
		char word[DIGEST_TEXT_MAX], name[160];
		const char *tag = image->tags.count ? image->tags.items[0]
				  : digest_of_name(image->config, &digest)
					  ? digest_text(&digest, word)
					  : image->config;
		snprintf(name, sizeof name, "%.150s", tag);
		text_format(list, "%s%s", i ? ", " : "", text_disarm(name));
	}
	if (manifest->images.count > 20)
		text_append(list, " and more");
}

static int choose(const struct archive_image *archive, const char *ref,
	const struct docker_image **chosen, struct ramet_error *err)
{
	const struct docker_manifest *manifest = &archive->manifest;
	const char *place = archive->image->outer.name;
	if (!ref && manifest->images.count == 1) {
		*chosen = manifest->images.items;
		return 0;
	}
	for (size_t i = 0; ref && i < manifest->images.count; i++)
		if (is_called(&manifest->images.items[i], ref)) {
			*chosen = &manifest->images.items[i];
			return 0;
		}
	_cleanup_text_ struct text list = {0};
	append_images(manifest, &list);
	if (list.failed)
		return error_memory(err);
	return ref ? error_set(err, ENOENT, "%s has no image '%s'; there is %s", place, ref,
			     list.data)
		   : error_set(err, ENOENT,
			     "%s holds several images; name one behind a colon: docker-archive:%s:%s",
			     place, place, list.data);
}

/* ------------------------------------------------------------------------------------------- */
/* Its parts.                                                                                   */

static int missing(const struct archive_image *archive, const char *what, const char *name,
	struct ramet_error *err)
{
	char word[320];
	snprintf(word, sizeof word, "%.300s", name);
	return error_set(err, ENOENT, "%s: %s names %s %s, which is not in the archive",
		archive->image->outer.name, MANIFEST, what, text_disarm(word));
}

static int load(struct archive_image *archive, const struct member *member, struct text *name,
	char **text, size_t *length, struct ramet_error *err)
{
	const struct reel *outer = &archive->image->outer;
	char word[320];
	snprintf(word, sizeof word, "%.300s", member->name);
	text_format(name, "%s: %s", outer->name, text_disarm(word));
	return name->failed ? error_memory(err)
			    : members_load(&archive->members, member, outer, &archive->image->lib,
				      text, length, err);
}

static int read_manifest(struct archive_image *archive, struct ramet_error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	const struct member *member = members_find(&archive->members, MANIFEST);
	if (!member)
		return error_set(err, EBADMSG,
			"%s is no archive of docker save: there is no " MANIFEST " at its top",
			archive->image->outer.name);
	int r = load(archive, member, &archive->manifest_name, &text, &length, err);
	return r < 0 ? r
		     : docker_manifest_parse(
			       &archive->manifest, archive->manifest_name.data, text, length, err);
}

static int read_config(
	struct archive_image *archive, const struct docker_image *chosen, struct ramet_error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	struct digest should, is;
	struct digest_context context;
	char word[DIGEST_TEXT_MAX];
	const struct member *member = members_find(&archive->members, chosen->config);
	if (!member)
		return missing(archive, "the configuration", chosen->config, err);
	int r = load(archive, member, &archive->config_name, &text, &length, err);
	if (r < 0)
		return r;
	if (digest_of_name(chosen->config, &should)) {
		digest_begin(&context, should.kind);
		digest_update(&context, text, length);
		digest_end(&context, &is);
		if (!digest_equal(&is, &should))
			return error_set(err, EBADMSG, "%s is damaged: its digest is %s",
				archive->config_name.data, digest_text(&is, word));
	}
	return oci_config_parse(&archive->config, archive->config_name.data, text, length, err);
}

static int add_layer(struct archive_image *archive, const char *layer, const struct digest *diff_id,
	struct ramet_error *err)
{
	struct image_source *image = archive->image;
	struct digest packed;
	char word[320];
	_cleanup_text_ struct text name = {0};
	const struct member *member = members_find(&archive->members, layer);
	if (!member)
		return missing(archive, "the layer", layer, err);
	snprintf(word, sizeof word, "%.300s", layer);
	text_format(&name, "%s: %s", image->outer.name, text_disarm(word));
	if (name.failed)
		return error_memory(err);
	const struct reel reel = members_reel(&archive->members, member, &image->outer, name.data);
	bool known = strncmp(layer, "blobs/", 6) == 0 && digest_of_name(layer, &packed);
	return image_source_add(image, &reel, known ? &packed : NULL, diff_id, err);
}

static int add_layers(
	struct archive_image *archive, const struct docker_image *chosen, struct ramet_error *err)
{
	const struct oci_config *config = &archive->config;
	if (chosen->layers.count != config->diff_ids.count)
		return error_set(err, EBADMSG,
			"%s tells of %zu layers, and %s of %zu (rootfs.diff_ids)",
			archive->manifest_name.data, chosen->layers.count,
			archive->config_name.data, config->diff_ids.count);
	int r = 0;
	for (size_t i = 0; r == 0 && i < chosen->layers.count; i++)
		r = add_layer(archive, chosen->layers.items[i], &config->diff_ids.items[i], err);
	return r;
}

static int open_image(struct archive_image *archive, const char *ref, struct ramet_error *err)
{
	struct image_source *image = archive->image;
	const struct docker_image *chosen = NULL;
	struct platform_wish wish;
	int r = platform_wish_parse(archive->request->platform, &wish, err);
	if (r == 0)
		r = members_list(&archive->members, &image->outer, &image->lib, NULL, err);
	if (r == 0)
		r = read_manifest(archive, err);
	if (r == 0)
		r = choose(archive, ref, &chosen, err);
	if (r == 0)
		r = read_config(archive, chosen, err);
	if (r == 0)
		r = platform_check(
			&archive->config, &wish, archive->request, image->outer.name, err);
	if (r == 0)
		r = add_layers(archive, chosen, err);
	image->source.process = TAKE_PTR(archive->config.process);
	return r;
}

static int open_outer(struct image_source *image, const struct source_request *request,
	const char *path, struct ramet_error *err)
{
	int *fd = vector_push(&image->source.fds);
	if (!fd)
		return error_memory(err);
	*fd = -1;
	return reel_open(&image->outer, path, request, fd, err);
}

int source_open_docker(const char *place, const struct source_request *request, struct source **out,
	struct ramet_error *err)
{
	struct image_source *image;
	const char *ref = NULL;
	int r = image_source_new(&image, place, err);
	if (r < 0)
		return r;
	__attribute__((cleanup(archive_image_free))) struct archive_image archive = {
		.image = image, .request = request};
	/* A file that is open already was named as a whole. */
	if (request->opened)
		image->outer_name = strdup(place);
	else
		r = place_split(place, &image->outer_name, &ref, err);
	if (r == 0 && !image->outer_name)
		r = error_memory(err);
	if (r == 0)
		r = open_outer(image, request, image->outer_name, err);
	if (r == 0)
		r = open_image(&archive, ref, err);
	if (r < 0)
		source_close(&image->source);
	else
		*out = &image->source;
	return r;
}

/* ------------------------------------------------------------------------------------------- */

/* "HEX", "HEX.json", "HEX/layer.tar", "sha256:HEX": the names that builders of archives choose. */
static bool is_hex_name(const char *name)
{
	if (strncmp(name, "sha256:", 7) == 0)
		name += 7;
	size_t digits = strspn(name, "0123456789abcdef");
	return digits == 2 * SHA256_DIGEST_SIZE && strchr("./", name[digits]);
}

static bool is_of_docker(const char *name)
{
	static const char *const names[] = {
		MANIFEST, "repositories", "index.json", "oci-layout", "blobs", ".", ""};
	if (strncmp(name, "blobs/", 6) == 0 || is_hex_name(name))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

bool source_is_docker(int fd)
{
	_cleanup_members_ struct members members = {0};
	struct archive_library lib = {0};
	struct reel reel;
	if (!source_is_tar(fd) || reel_of_file(&reel, fd, "an archive", NULL) < 0 ||
		archive_load(&lib, NULL) < 0)
		return false;
	int r = members_list(&members, &reel, &lib, is_of_docker, NULL);
	archive_unload(&lib);
	return r == 0 && !members.foreign && members_find(&members, MANIFEST);
}
