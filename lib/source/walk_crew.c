/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who walks which folder. A walk is nothing but system calls that look into the kernel's caches, or wait
 * for a disk or a server: threads share them well. The caller's thread begins, alone, since most trees are
 * small; once it has seen FIRST_ALONE entries it gets helpers.
 *
 * Each thread goes depth first through folders of its own, so that the folder above is open already. Who
 * has none left takes another's oldest one, which stands highest and has most below it.
 *
 * The tree does not depend on who walked what: a folder's entries are sorted by whoever reads it, and
 * nobody else touches them until it is done. All threads have ended when the walk returns, so that the
 * caller may fork.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/processors.h"
#include "base/thread.h"
#include "source/walk_inside.h"

#define FIRST_ALONE 500
#define STACK_SIZE  ((size_t)256 * 1024)

static void walker_release(struct walker *walker)
{
	free(walker->buffer);
	text_free(&walker->names);
	vector_free(&walker->sorted);
	vector_free(&walker->found);
	vector_free(&walker->pending);
}

static void fail(struct walk *walk, int code, const struct ramet_error *err)
{
	pthread_mutex_lock(&walk->lock);
	if (walk->result == 0) {
		walk->result = code;
		if (walk->err)
			*walk->err = *err;
	}
	atomic_store(&walk->stopped, true);
	pthread_cond_broadcast(&walk->more);
	pthread_mutex_unlock(&walk->lock);
}

/* With the lock. */
static struct tree_node *take_own(struct walker *walker)
{
	if (walker->pending.count > walker->oldest)
		return walker->pending.items[--walker->pending.count];
	walker->pending.count = walker->oldest = 0;
	return NULL;
}

static struct tree_node *take_from_others(struct walk *walk)
{
	struct walker *richest = walk->walkers[0];
	for (unsigned i = 1; i < walk->count; i++) {
		struct walker *other = walk->walkers[i];
		if (other->pending.count - other->oldest > richest->pending.count - richest->oldest)
			richest = other;
	}
	return richest->pending.count > richest->oldest ? richest->pending.items[richest->oldest++]
							: NULL;
}

/* NULL: the walk is over. That is when all threads want a folder and none is left. */
static struct tree_node *take(struct walker *walker)
{
	struct walk *walk = walker->walk;
	struct tree_node *node = NULL;
	pthread_mutex_lock(&walk->lock);
	walk->idle++;
	while (!atomic_load(&walk->stopped)) {
		node = take_own(walker);
		if (!node)
			node = take_from_others(walk);
		if (node)
			break;
		if (walk->idle == walk->count) {
			atomic_store(&walk->stopped, true);
			pthread_cond_broadcast(&walk->more);
		} else {
			pthread_cond_wait(&walk->more, &walk->lock);
		}
	}
	walk->idle--;
	pthread_mutex_unlock(&walk->lock);
	return node;
}

/* What was found waits its turn: the last one comes off first, so it goes on in reverse. */
static int hand_out(struct walker *walker)
{
	struct walk *walk = walker->walk;
	int r = 0;
	pthread_mutex_lock(&walk->lock);
	for (size_t i = walker->found.count; i-- > 0 && r == 0;) {
		struct tree_node **place = vector_push(&walker->pending);
		if (place)
			*place = walker->found.items[i];
		else
			r = -ENOMEM;
	}
	/* One it takes itself. */
	if (walk->idle && walker->pending.count > walker->oldest + 1)
		pthread_cond_broadcast(&walk->more);
	pthread_mutex_unlock(&walk->lock);
	return r;
}

static int walk_one(struct walker *walker, struct tree_node *node, struct ramet_error *err)
{
	walker->found.count = 0;
	int r = walk_directory(walker, node, err);
	if (r < 0 || !walker->found.count)
		return r;
	return hand_out(walker) < 0 ? error_memory(err) : 0;
}

static void *help(void *ctx)
{
	struct walker *walker = ctx;
	struct ramet_error err = {0};
	struct tree_node *node;
	while ((node = take(walker))) {
		int r = walk_one(walker, node, &err);
		if (r < 0)
			fail(walker->walk, r, &err);
	}
	return NULL;
}

/* Whether there is one more; without, the walk goes on as it is. */
static bool add_helper(struct walk *walk)
{
	_cleanup_free_ struct walker *walker = calloc(1, sizeof *walker);
	if (!walker)
		return false;
	walker->walk = walk;
	walker->tree = tree_branch_new(walk->walkers[0]->tree);
	if (!walker->tree)
		return false;
	pthread_mutex_lock(&walk->lock);
	bool started = thread_start(&walker->thread, STACK_SIZE, help, walker);
	if (started)
		walk->walkers[walk->count++] = walker;
	pthread_mutex_unlock(&walk->lock);
	if (started)
		TAKE_PTR(walker);
	else
		tree_branch_join(walk->walkers[0]->tree, walker->tree);
	return started;
}

static void add_helpers(struct walk *walk)
{
	unsigned wanted = walk->options->threads ? MIN(walk->options->threads, (unsigned)WALK_MOST)
						 : processors_count(WALK_MOST);
	while (walk->count < wanted && add_helper(walk))
		;
}

static void lead(struct walker *walker)
{
	struct walk *walk = walker->walk;
	struct ramet_error err = {0};
	struct tree_node *node;
	bool alone = true;
	while ((node = take(walker))) {
		int r = walk_one(walker, node, &err);
		if (r < 0)
			fail(walk, r, &err);
		if (r == 0 && alone && atomic_load(&walk->walked) >= FIRST_ALONE) {
			alone = false;
			add_helpers(walk);
		}
	}
}

static void end(struct walk *walk)
{
	for (unsigned i = 1; i < walk->count; i++) {
		struct walker *walker = walk->walkers[i];
		pthread_join(walker->thread, NULL);
		tree_branch_join(walk->walkers[0]->tree, walker->tree);
		walker_release(walker);
		free(walker);
	}
	walker_release(walk->walkers[0]);
	pthread_cond_destroy(&walk->more);
	pthread_mutex_destroy(&walk->lock);
}

int walk_below(struct tree *tree, struct tree_node *top, const struct source_options *options,
	struct ramet_error *err)
{
	struct walk walk = {
		.options = options, .origin = (uint16_t)top->origin, .count = 1, .err = err};
	struct walker first = {.walk = &walk, .tree = tree};
	walk.walkers[0] = &first;
	pthread_mutex_init(&walk.lock, NULL);
	pthread_cond_init(&walk.more, NULL);
	struct tree_node **place = vector_push(&first.pending);
	if (place) {
		*place = top;
		lead(&first);
	} else {
		walk.result = error_memory(err);
	}
	end(&walk);
	if (options->walked)
		*options->walked += atomic_load(&walk.walked);
	return walk.result;
}
