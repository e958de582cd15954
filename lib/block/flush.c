/* SPDX-License-Identifier: Apache-2.0 */
/* One flush at a time, on a worker: those that are wanted while it runs are all served by the next one,
 * because what was written after its start it may have missed. */
#include "block/engine_inside.h"

static void flush_work(struct work *work)
{
	struct engine *engine = (struct engine *)((char *)work - offsetof(struct engine, flush));
	const struct block_ops *ops = engine->device->ops;
	engine->flush_result = ops->flush ? ops->flush(engine->device) : 0;
}

static void flush_begin(struct engine *engine)
{
	if (engine->flush_runs || !engine->to_flush.first)
		return;
	engine->flushing = engine->to_flush;
	if (!engine->flushing.first->next)
		engine->flushing.end = &engine->flushing.first->next;
	requests_init(&engine->to_flush);
	engine->flush_runs = true;
	engine->flush.run = flush_work;
	workers_add(engine->workers, &engine->flush);
}

void flush_add(struct engine *engine, struct block_request *request)
{
	requests_add(&engine->to_flush, request);
	flush_begin(engine);
}

void flush_end(struct engine *engine)
{
	struct block_request *request = engine->flushing.first;
	engine->flush_runs = false;
	int result = engine->flush_result;
	flush_begin(engine);
	while (request) {
		struct block_request *next = request->next;
		if (result < 0)
			request->failed = result;
		request_end(engine, request);
		request = next;
	}
}
