/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tar streams: plain or compressed, ustar, pax, GNU and old tar; sparse files in all their forms,
 * extended attributes and POSIX ACLs.
 *
 * A stream is read twice, each time forward from its beginning, and nothing of it is unpacked to
 * disk. stream_apply reads the headers and lays them over a tree; the tree's files then belong to an
 * origin whose content is read by this stream, in the order of the stream (content.h). In memory are
 * the tree, and the maps of sparse files.
 *
 *     struct archive_library lib = {0};        archive_load(&lib, err)        (before any sandbox)
 *     struct reel reel;                        reel_open(&reel, place, request, &fd, err)
 *     struct stream *stream;                   stream_new(&stream, &reel, &lib, err)
 *     struct layers *layers;                   layers_new(&layers, tree, err)
 *     stream_apply(stream, layers, &options, source_options, err)    for each layer, lowest first
 *     layers_finish(layers)
 *     ... tree_finish, an image is written ...
 *     stream_free, close(fd), archive_unload                          after the tree was freed
 *
 * Everything from stream_apply on may run in a sandbox that has the reel's fd.
 */
#ifndef SOURCE_STREAM_H
#define SOURCE_STREAM_H

#include "source/archive.h"
#include "source/layer.h"
#include "source/reel.h"
#include "source/source.h"

struct stream;

/* reel is copied, what it points to and lib are borrowed. Reads nothing yet. */
int stream_new(struct stream **out, const struct reel *reel, const struct archive_library *lib,
	struct ramet_error *err);
void stream_free(struct stream *stream); /* NULL is fine */

/* Of all streams that share the same *reading (NULL at first) only one is being read for content at a
 * time: what the others hold for that is freed. reading must outlive them. */
void stream_share(struct stream *stream, struct stream **reading);

struct stream_options {
	/* Names ".wh.*" mean what they mean in layers of images; otherwise they are names. */
	bool whiteouts;
	/* SHA-256, 32 bytes, of the reel's bytes as they are, and of the tar inside; NULL: not known.
	 * With either of them the archive need not have an end mark, and may have bytes behind it. */
	const uint8_t *packed_digest, *digest;
};

/*
 * Lay the stream over the tree as a new layer. Called once for a stream.
 * Errors: EUCLEAN (damaged, cut off, not a tar archive, a wrong digest, a lying sparse map), those of
 * layers_add, ENOMEM; each sentence names the archive and, where there is one, the entry.
 */
int stream_apply(struct stream *stream, struct layers *layers, const struct stream_options *options,
	const struct source_options *source_options, struct ramet_error *err);

/* An entry of an archive that holds others. */
struct stream_member {
	const char *name; /* without "./" in front; lives until the callback returns */
	const char *link; /* target of a hard link or symlink, as it stands there, or NULL */
	uint32_t mode;    /* type and permissions; hard links: 0 */
	uint64_t size;    /* bytes */
	uint64_t offset;  /* of its bytes in the unpacked archive: reel_part_unpacked() */
};
/* Tell each member, in order; what each answers ends the listing when it is not 0, and is returned.
 * packed: whether the archive is compressed (else reel_part() serves as well, and is quicker). */
int stream_list(struct stream *stream,
	int (*each)(void *ctx, const struct stream_member *member, struct ramet_error *err),
	void *ctx, bool *packed, struct ramet_error *err);

/* All bytes of a small reel, with a NUL behind them; the caller frees *data. -EFBIG beyond max. */
int reel_load(const struct reel *reel, const struct archive_library *lib, size_t max, char **data,
	size_t *length, struct ramet_error *err);

/*
 * Whether the reel looks like a tar archive: its first header has the checksum of one, or it begins
 * with two blocks of zeros; or it is compressed, with whatever inside. Nothing is unpacked for it, so
 * that it may be asked outside of a sandbox. Only for reels of files.
 */
int stream_probe(const struct reel *reel, bool *is_tar, struct ramet_error *err);

#endif
