/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading everything of an image. Decompressing takes most of the time, so as many children as there
 * are processors do it, each with its share of the content (look/proof.h); a thread waits for each.
 * Meanwhile this thread makes the file's digest, which is no parsing, and passes on the children's
 * progress, which comes through one pipe and is believed in nothing. That a thread is at its end
 * comes through an eventfd, which no child has.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "api/place.h"
#include "api/verify_lazy.h"
#include "base/cleanup.h"
#include "base/file_digest.h"
#include "base/progress.h"
#include "image/lazy.h"
#include "look/proof.h"
#include "store/images.h"

enum { SHARES_MAX = 8, SHARE_BYTES = 4 << 20 };

struct share {
	struct verifier *verifier;
	struct proof_share share;
	struct proof_result proof;
	struct proof_progress progress;
	struct ramet_error err;
	int result;
	pthread_t thread;
	bool started;
};

struct verifier {
	const struct ramet_verify_options *options;
	struct ramet_verify_result *result;
	const struct image_format *format;
	int fd;
	struct stat st;
	struct text name;
	struct store_roots given; /* of a lazy image: where its folders are said to be */
	struct share *shares[SHARES_MAX];
	unsigned count;
	int progress_in, progress_out, ended;
};

static int prove_image(struct share *share, struct fs *fs, struct ramet_error *err)
{
	const struct verifier *verifier = share->verifier;
	const struct changes_view view = {.fs = fs, .name = verifier->name.data};
	struct image_facts facts = {0};
	int r = 0;
	if (verifier->format->describe)
		r = verifier->format->describe(verifier->fd, &facts, err);
	return r < 0 ? r : look_prove(&view, &facts, &share->share, &share->proof, err);
}

/* In the child. An image that cannot even be opened is damaged as a whole. */
static int prove_work(void *ctx, struct ramet_error *err)
{
	struct share *share = ctx;
	_cleanup_fs_ struct fs *fs = NULL;
	int r = share->verifier->format->open(share->verifier->fd, &fs, err);
	if (r == 0)
		r = prove_image(share, fs, err);
	if (r != -EUCLEAN && r != -EMEDIUMTYPE)
		return r;
	if (share->share.number == 0)
		report_add(&share->proof.report, "", err->message);
	return 0;
}

static void *share_run(void *ctx)
{
	struct share *share = ctx;
	const struct verifier *verifier = share->verifier;
	const struct sandbox_limits limits = place_limits((uint64_t)verifier->st.st_size);
	const int fds[] = {verifier->fd, share->share.progress_fd};
	share->result = sandbox_run(verifier->name.data, &limits, prove_work, share, fds,
		ARRAY_SIZE(fds), &share->proof, sizeof share->proof, &share->err);
	eventfd_write(verifier->ended, 1);
	return NULL;
}

static unsigned share_count(const struct verifier *verifier)
{
	cpu_set_t cpus;
	unsigned count = 1;
	if (sched_getaffinity(0, sizeof cpus, &cpus) == 0)
		count = (unsigned)CPU_COUNT(&cpus);
	uint64_t most = 1 + (uint64_t)verifier->st.st_blocks * 512 / SHARE_BYTES;
	return (unsigned)MIN(MIN(most, (uint64_t)SHARES_MAX), (uint64_t)MAX(count, 1u));
}

static int start_shares(struct verifier *verifier, struct ramet_error *err)
{
	int ends[2];
	verifier->ended = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE | EFD_NONBLOCK);
	if (verifier->ended < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(
			err, errno, "cannot make a pipe to read %s", verifier->name.data);
	verifier->progress_in = ends[0];
	verifier->progress_out = ends[1];
	if (fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0)
		return error_errno(err, errno, "cannot use a pipe to read %s", verifier->name.data);
	unsigned count = share_count(verifier);
	for (unsigned i = 0; i < count; i++) {
		struct share *share = verifier->shares[i] = calloc(1, sizeof *share);
		if (!share)
			return error_memory(err);
		share->verifier = verifier;
		share->share = (struct proof_share){i, count, verifier->progress_out};
		verifier->count = i + 1;
	}
	for (unsigned i = 0; i < count; i++) {
		struct share *share = verifier->shares[i];
		int r = pthread_create(&share->thread, NULL, share_run, share);
		if (r)
			return error_errno(err, r, "cannot start a thread");
		share->started = true;
	}
	return 0;
}

static void take_progress(struct verifier *verifier, struct meter *meter)
{
	struct proof_progress message;
	if (read(verifier->progress_in, &message, sizeof message) != sizeof message ||
		message.share >= verifier->count)
		return;
	verifier->shares[message.share]->progress = message;
	uint64_t done = 0;
	meter->total = 0;
	for (unsigned i = 0; i < verifier->count; i++) {
		done += verifier->shares[i]->progress.done;
		meter->total += verifier->shares[i]->progress.total;
	}
	meter_advance(meter, done);
}

/* Take what there is to hear; wait: until there is something. Answers whether a share ended. */
static bool listen_once(struct verifier *verifier, struct meter *meter, bool wait)
{
	struct pollfd ready[] = {{.fd = verifier->progress_in, .events = POLLIN},
		{.fd = verifier->ended, .events = POLLIN}};
	eventfd_t count;
	if (poll(ready, ARRAY_SIZE(ready), wait ? -1 : 0) <= 0)
		return false;
	if (ready[0].revents)
		take_progress(verifier, meter);
	return ready[1].revents && eventfd_read(verifier->ended, &count) == 0;
}

/* The digest, and meanwhile the children's progress, until both are at their end. */
static int digest_and_wait(struct verifier *verifier, struct ramet_error *err)
{
	struct meter meter = {.report = verifier->options->progress,
		.ctx = verifier->options->progress_ctx,
		.step = "verify"};
	struct file_digest digest;
	unsigned running = 0;
	for (unsigned i = 0; i < verifier->count; i++)
		running += verifier->shares[i]->started;
	int r = file_digest_open(&digest, verifier->fd);
	while (r == 0 && (r = file_digest_step(&digest)) > 0) {
		running -= running && listen_once(verifier, &meter, false);
		r = 0;
	}
	if (r == 0)
		file_digest_finish(&digest, verifier->result->digest);
	file_digest_free(&digest);
	while (running)
		running -= listen_once(verifier, &meter, true);
	return r < 0 ? error_errno(err, -r, "cannot read %s", verifier->options->image) : 0;
}

static void stop_shares(struct verifier *verifier)
{
	for (unsigned i = 0; i < verifier->count; i++)
		if (verifier->shares[i]->started)
			pthread_join(verifier->shares[i]->thread, NULL);
	cleanup_close(&verifier->progress_in);
	cleanup_close(&verifier->progress_out);
	cleanup_close(&verifier->ended);
}

static int pass_finding(void *ctx, const char *path, const char *sentence)
{
	const struct verifier *verifier = ctx;
	const struct ramet_verify_options *options = verifier->options;
	if (options->finding)
		options->finding(options->finding_ctx, path, sentence);
	return 0;
}

static void add_finding(struct verifier *verifier, const char *sentence)
{
	verifier->result->findings++;
	pass_finding(verifier, "", sentence);
}

/* A child that died of the image is a finding too. */
static int take_results(struct verifier *verifier, struct ramet_error *err)
{
	for (unsigned i = 0; i < verifier->count; i++) {
		struct share *share = verifier->shares[i];
		if (share->result == -EUCLEAN) {
			add_finding(verifier, share->err.message);
			continue;
		}
		if (share->result < 0) {
			if (err)
				*err = share->err;
			return error_prefix(err, share->result, "%s", verifier->options->image);
		}
		verifier->result->findings += share->proof.report.found;
		report_each(&share->proof.report, pass_finding, verifier);
		if (i == 0) {
			verifier->result->entries = share->proof.entries;
			verifier->result->files = share->proof.files;
			verifier->result->content_bytes = share->proof.content_bytes;
		}
	}
	return 0;
}

/* What it is: an image that is not one any more, or is cut off, is a finding and has no tree. */
static int identify(struct verifier *verifier, bool known, struct ramet_error *err)
{
	struct ramet_error why = {0};
	int r = image_identify(verifier->fd, verifier->options->image, &verifier->format, &why);
	if (verifier->format)
		strcpy(verifier->result->format, verifier->format->name);
	if (r == 0)
		return 0;
	if (r == -EMEDIUMTYPE && (verifier->format || known || verifier->options->digest)) {
		verifier->format = NULL;
		/* The same once more, in a sentence that stands behind the image's name. */
		const struct image_format *format;
		image_identify(verifier->fd, "it", &format, &why);
		add_finding(verifier, why.message);
		return 0;
	}
	if (err)
		*err = why;
	return r;
}

static int prove(struct verifier *verifier, struct ramet_error *err)
{
	int r = verifier->format ? start_shares(verifier, err) : 0;
	struct ramet_error why = {0};
	int waited = digest_and_wait(verifier, &why);
	stop_shares(verifier);
	if (r == 0 && waited < 0) {
		r = waited;
		if (err)
			*err = why;
	}
	return r < 0 ? r : take_results(verifier, err);
}

static bool is_unchanged(const struct verifier *verifier)
{
	struct stat now;
	const struct stat *st = &verifier->st;
	return fstat(verifier->fd, &now) == 0 && now.st_size == st->st_size &&
	       stat_mtime_ns(&now) == stat_mtime_ns(st);
}

/* Against what was asked for, or what the catalogue has; a good image without one gets it noted. */
static int compare_digest(struct ramet_store *store, struct verifier *verifier,
	struct store_image *image, struct ramet_error *err)
{
	struct ramet_verify_result *result = verifier->result;
	const char *wanted = verifier->options->digest;
	if (!wanted && image->digest && *image->digest)
		wanted = image->digest;
	if (wanted && strcmp(wanted, result->digest) != 0) {
		char sentence[256];
		snprintf(sentence, sizeof sentence, "its digest is %s, and must be %s",
			result->digest, wanted);
		result->digest_state = "wrong";
		add_finding(verifier, sentence);
		return 0;
	}
	result->digest_state = wanted ? "right" : "unknown";
	if (!store || result->findings || (image->digest && *image->digest))
		return 0;
	const struct store_image_facts facts = {.format = verifier->format->name,
		.digest = result->digest,
		.lazy = lazy_probe(verifier->fd)};
	int r = image->id ? store_image_set_digest(store, image, result->digest, err)
			  : store_image_insert(store, image, &facts, err);
	if (r == 0 && !wanted)
		result->digest_state = "noted";
	return r;
}

static void lazy_finding(void *ctx, const char *sentence)
{
	add_finding(ctx, sentence);
}

/* Its digest first: a file that is no image to prove() is just read. */
static int prove_lazy(struct ramet_store *store, struct verifier *verifier, int64_t image,
	struct ramet_error *err)
{
	_cleanup_source_words_ struct source_words words = {0};
	const struct verify_lazy lazy = {.fd = verifier->fd,
		.path = verifier->options->image,
		.finding = lazy_finding,
		.ctx = verifier,
		.progress = verifier->options->progress,
		.progress_ctx = verifier->options->progress_ctx,
		.words = &words,
		.given = &verifier->given};
	int r = source_words_load(&words, store, image, verifier->options->sources, err);
	if (r == 0)
		r = prove(verifier, err);
	return r < 0 ? r : verify_lazy(&lazy, &verifier->format, verifier->result, err);
}

static int prove_file(struct ramet_store *store, struct verifier *verifier, int64_t image,
	struct ramet_error *err)
{
	const char *const *sources = verifier->options->sources;
	if (lazy_probe(verifier->fd))
		return prove_lazy(store, verifier, image, err);
	if (sources && *sources)
		return error_set(err, EINVAL, "%s is no lazy image: it stands on no folder",
			verifier->options->image);
	int r = identify(verifier, image != 0, err);
	return r < 0 ? r : prove(verifier, err);
}

/* The files are there: whoever stands on the image will find them. It has a row, with its digest. */
static int note_sources(struct ramet_store *store, struct verifier *verifier,
	const struct store_image *image, struct ramet_error *err)
{
	const char *const *sources = verifier->options->sources;
	if (!store || !image->id || !sources || !*sources || verifier->result->findings)
		return 0;
	int r = store_roots_set(store, image->id, &verifier->given, err);
	verifier->result->sources_noted = r == 0;
	return r;
}

static int verify(struct ramet_store *store, struct verifier *verifier, struct store_image *image,
	struct ramet_error *err)
{
	const char *path = verifier->options->image;
	verifier->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (verifier->fd < 0 || fstat(verifier->fd, &verifier->st) < 0)
		return error_errno(err, errno, "cannot open the image %s", path);
	if (!S_ISREG(verifier->st.st_mode))
		return error_set(err, EMEDIUMTYPE, "the image %s is not a file", path);
	int r = store ? store_image_find(store, verifier->fd, path, image, err) : 0;
	if (r == 0)
		r = prove_file(store, verifier, image->id, err);
	if (r == 0 && !is_unchanged(verifier))
		r = error_set(
			err, ESTALE, "the image %s was written while it was being read", path);
	if (r == 0)
		r = compare_digest(store, verifier, image, err);
	return r < 0 ? r : note_sources(store, verifier, image, err);
}

int ramet_verify(struct ramet_store *store, const struct ramet_verify_options *options,
	struct ramet_verify_result *result, struct ramet_error *err)
{
	*result = (struct ramet_verify_result){.digest_state = "unknown"};
	struct digest wanted;
	if (options->digest &&
		(digest_parse(options->digest, &wanted) < 0 || wanted.kind != DIGEST_SHA256))
		return error_set(err, EINVAL,
			"'%s' is no digest: that is 'sha256:' and 64 hexadecimal digits in lower "
			"case",
			options->digest);
	struct verifier verifier = {.options = options,
		.result = result,
		.fd = -1,
		.progress_in = -1,
		.progress_out = -1,
		.ended = -1};
	_cleanup_image_ struct store_image image = {0};
	text_format(&verifier.name, "the image %s", options->image);
	int r = verifier.name.failed ? error_memory(err) : verify(store, &verifier, &image, err);
	for (unsigned i = 0; i < verifier.count; i++)
		free(verifier.shares[i]);
	text_free(&verifier.name);
	store_roots_free(&verifier.given);
	cleanup_close(&verifier.fd);
	return r;
}
