/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large reads that come many at once are copies from the page cache as a rule, and two processors copy
 * twice as fast as one. They gather in engine_submit. In engine_run the first is for the engine's
 * thread, and the rest for a helper; whoever is done with one takes the next, the engine's thread one in
 * each turn, so that the caller can tell of what has ended meanwhile. A single one is copied on the
 * spot: before the helper were awake most of it would be done.
 *
 * Nobody here waits for a disk: RWF_NOWAIT answers with what is there, and the rest is a move like any
 * other.
 */
#include <errno.h>
#include <sched.h>

#include "block/engine_inside.h"

/* Alone on a processor there is nothing to gain. */
static bool has_company(void)
{
	cpu_set_t set;
	return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 1;
}

int share_prepare(struct engine *engine)
{
	engine->to_copy_end = &engine->to_copy;
	if (!engine->quick || !has_company())
		return 0;
	return workers_new(1, 1, engine->fd, &engine->copiers);
}

static void copy(struct work *work)
{
	struct move *move = (struct move *)work;
	move->result = quick_move(move);
}

bool share_add(struct engine *engine, struct move *move)
{
	if (!engine->copiers || !move->request->batched ||
		!quick_worth(engine, move->extent.length))
		return false;
	move->work.run = copy;
	move->work.next = NULL;
	*engine->to_copy_end = &move->work;
	engine->to_copy_end = &move->work.next;
	return true;
}

static struct work *take_all(struct engine *engine)
{
	struct work *first = engine->to_copy;
	engine->to_copy = NULL;
	engine->to_copy_end = &engine->to_copy;
	return first;
}

/* They are anybody's from now on; but while there are no others the first is answered, for us. */
static struct work *hand_over(struct engine *engine)
{
	struct work *work = take_all(engine), *first = NULL, *next;
	if (work && !engine->copying) {
		first = work;
		work = work->next;
	}
	for (; work; work = next) {
		next = work->next;
		engine->copying++;
		workers_add(engine->copiers, work);
	}
	return first;
}

static void take_back(struct engine *engine)
{
	struct work *next;
	for (struct work *work = workers_take(engine->copiers); work; work = next) {
		next = work->next;
		engine->copying--;
		move_copied((struct move *)work);
	}
}

void share_run(struct engine *engine)
{
	if (!engine->to_copy && !engine->copying)
		return;
	struct work *mine = hand_over(engine);
	if (engine->copying)
		take_back(engine);
	if (!mine && engine->copying && (mine = workers_steal(engine->copiers)))
		engine->copying--;
	if (!mine)
		return;
	copy(mine);
	move_copied((struct move *)mine);
}

bool share_any(const struct engine *engine)
{
	return engine->copying && workers_any(engine->copiers);
}

bool share_waits(const struct engine *engine)
{
	return engine->to_copy || (engine->copying && workers_waiting(engine->copiers));
}
