/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that misbehaves stands before another and answers as that does, but for what its rules say.
 * As devices move no bytes, a delay is a WAIT that takes so long, and then the same is asked again: the
 * places of delays that are over are remembered, so that they are not counted, or delayed, twice.
 */
#include "test_device.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

#define SECTOR 512
enum { RULES = 16, WAITS = 256 };
enum event { READ, WRITE, COMMIT, PUT, FLUSH, DISCARD, EVENTS };
enum fault { NONE, FAIL, DELAY, REORDER, SHORT, TORN };

static const char *const event_names[EVENTS] = {
	"read", "write", "commit", "put", "flush", "discard"};
static const char *const fault_names[] = {"", "fail", "delay", "reorder", "short", "torn"};

struct rule {
	enum event event;
	unsigned from, to;
	enum fault fault;
	int value; /* errno, milliseconds */
};

/* A delay, or a torn write whose second half is to come. */
struct wait {
	enum { FREE, WAITING, OVER, HALF } state;
	enum event event;
	uint64_t offset;
	int milliseconds;
};

struct fault_device {
	struct block_device device;
	struct block_device *below;
	pthread_mutex_t lock;
	unsigned counts[EVENTS];
	struct rule rules[RULES];
	unsigned rule_count;
	struct wait waits[WAITS];
};

static const struct rule *next_rule(struct fault_device *fault, enum event event)
{
	static const struct rule none;
	const struct rule *found = &none;
	pthread_mutex_lock(&fault->lock);
	unsigned count = ++fault->counts[event];
	for (unsigned i = 0; i < fault->rule_count; i++)
		if (fault->rules[i].event == event && fault->rules[i].from <= count &&
			count <= fault->rules[i].to)
			found = &fault->rules[i];
	pthread_mutex_unlock(&fault->lock);
	return found;
}

static struct wait *find_wait(struct fault_device *fault, enum event event, uint64_t offset)
{
	for (unsigned i = 0; i < WAITS; i++) {
		struct wait *wait = &fault->waits[i];
		if ((wait->state == OVER || wait->state == HALF) && wait->event == event &&
			wait->offset == offset)
			return wait;
	}
	return NULL;
}

/* Without a free place there is no delay. */
static bool begin_wait(struct fault_device *fault, const struct wait *wait, uint32_t *index)
{
	bool begun = false;
	pthread_mutex_lock(&fault->lock);
	for (uint32_t i = 0; i < WAITS && !begun; i++)
		if (fault->waits[i].state == FREE) {
			fault->waits[i] = *wait;
			*index = i;
			begun = true;
		}
	pthread_mutex_unlock(&fault->lock);
	return begun;
}

static int ask_below(struct fault_device *fault, enum event event, uint64_t offset, uint64_t length,
	struct block_extent *extents, unsigned most)
{
	const struct block_ops *ops = fault->below->ops;
	return (event == READ ? ops->map : ops->prepare_write)(
		fault->below, offset, length, extents, most);
}

static int apply(struct fault_device *fault, const struct rule *rule, uint64_t offset,
	uint64_t length, struct block_extent *extents, unsigned most)
{
	uint32_t index = 0;
	struct wait wait = {.state = WAITING, .event = rule->event, .offset = offset};
	switch (rule->fault) {
	case FAIL:
		return -rule->value;
	case DELAY:
	case REORDER:
		wait.milliseconds = rule->fault == DELAY ? rule->value : rand() % (rule->value + 1);
		if (!begin_wait(fault, &wait, &index))
			break;
		extents[0] = (struct block_extent){
			.kind = BLOCK_WAIT, .fd = -1, .length = length, .source = index};
		return 1;
	case SHORT:
		length = MIN(length, SECTOR);
		break;
	case TORN:
		length = MAX(length / 2 / SECTOR * SECTOR, MIN(length, SECTOR));
		wait = (struct wait){.state = HALF, .event = WRITE, .offset = offset + length};
		begin_wait(fault, &wait, &index);
		break;
	default:
		break;
	}
	return ask_below(fault, rule->event, offset, length, extents, most);
}

static int answer(struct block_device *device, enum event event, uint64_t offset, uint64_t length,
	struct block_extent *extents, unsigned most)
{
	struct fault_device *fault = (struct fault_device *)device;
	pthread_mutex_lock(&fault->lock);
	struct wait *wait = find_wait(fault, event, offset);
	bool over = wait && wait->state == OVER, half = wait && wait->state == HALF;
	if (wait)
		wait->state = FREE;
	pthread_mutex_unlock(&fault->lock);
	if (half)
		return -EIO;
	if (over)
		return ask_below(fault, event, offset, length, extents, most);
	return apply(fault, next_rule(fault, event), offset, length, extents, most);
}

static int fault_map(struct block_device *device, uint64_t offset, uint64_t length,
	struct block_extent *extents, unsigned most)
{
	int count = answer(device, READ, offset, length, extents, most);
	for (int i = 0; i < count; i++)
		extents[i].held = extents[i].kind == BLOCK_DATA;
	return count;
}

static int fault_prepare(struct block_device *device, uint64_t offset, uint64_t length,
	struct block_extent *extents, unsigned most)
{
	return answer(device, WRITE, offset, length, extents, most);
}

static int fault_ready(struct block_device *device, const struct block_extent *extent)
{
	struct fault_device *fault = (struct fault_device *)device;
	struct wait *wait = &fault->waits[extent->source];
	usleep((useconds_t)wait->milliseconds * 1000);
	pthread_mutex_lock(&fault->lock);
	wait->state = OVER;
	pthread_mutex_unlock(&fault->lock);
	return 0;
}

static int simple(struct block_device *device, enum event event)
{
	const struct rule *rule = next_rule((struct fault_device *)device, event);
	if (rule->fault == DELAY && event != COMMIT && event != PUT)
		usleep((useconds_t)rule->value * 1000);
	return rule->fault == FAIL ? -rule->value : 0;
}

static int fault_put(struct block_device *device, const struct block_extent *extent)
{
	return extent->failed == ECANCELED ? 0 : simple(device, PUT);
}

static int fault_commit(struct block_device *device, uint64_t offset, uint64_t length)
{
	struct block_device *below = ((struct fault_device *)device)->below;
	int r = simple(device, COMMIT);
	return r < 0 || !below->ops->commit_write ? r
						  : below->ops->commit_write(below, offset, length);
}

static int fault_flush(struct block_device *device)
{
	struct block_device *below = ((struct fault_device *)device)->below;
	int r = simple(device, FLUSH);
	return r < 0 ? r : below->ops->flush(below);
}

static int fault_discard(struct block_device *device, uint64_t offset, uint64_t length)
{
	struct block_device *below = ((struct fault_device *)device)->below;
	int r = simple(device, DISCARD);
	return r < 0 ? r : below->ops->discard(below, offset, length);
}

static void fault_close(struct block_device *device)
{
	struct fault_device *fault = (struct fault_device *)device;
	block_close(fault->below);
	pthread_mutex_destroy(&fault->lock);
	free(fault);
}

static const struct block_ops fault_ops = {
	.name = "fault",
	.map = fault_map,
	.ready = fault_ready,
	.put = fault_put,
	.prepare_write = fault_prepare,
	.commit_write = fault_commit,
	.flush = fault_flush,
	.discard = fault_discard,
	.close = fault_close,
};

/* ------------------------------------------------------------------------------------------- */

static int find_name(const char *name, const char *const *names, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return (int)i;
	return -EINVAL;
}

static int parse_rule(char *text, struct rule *rule)
{
	char *event = strsep(&text, "="), *which = strsep(&text, "="), *name = strsep(&text, "-");
	if (!which || !name)
		return -EINVAL;
	int e = find_name(event, event_names, EVENTS);
	int f = find_name(name, fault_names, ARRAY_SIZE(fault_names));
	char *end = which;
	*rule = (struct rule){.from = 1, .to = UINT32_MAX};
	if (*which == '*')
		end++;
	else
		rule->from = rule->to = (unsigned)strtoul(which, &end, 10);
	if (*end == '+') {
		rule->to = UINT32_MAX;
		end++;
	}
	if (e < 0 || f <= 0 || *end || !rule->from)
		return -EINVAL;
	rule->event = (enum event)e;
	rule->fault = (enum fault)f;
	rule->value = text ? atoi(text) : rule->fault == FAIL ? EIO : 1;
	return 0;
}

static int parse_rules(struct fault_device *fault, char *rules)
{
	for (char *rule; (rule = strsep(&rules, ","));) {
		if (!*rule)
			continue;
		if (fault->rule_count == RULES ||
			parse_rule(rule, &fault->rules[fault->rule_count++]) < 0)
			return -EINVAL;
	}
	return 0;
}

static int open_fault(
	const char *text, bool read_only, struct block_device **device, struct ramet_error *err)
{
	const char *colon = strchr(text, ':');
	_cleanup_free_ char *rules = colon ? strndup(text, (size_t)(colon - text)) : NULL;
	struct fault_device *fault = calloc(1, sizeof *fault);
	if (!fault || parse_rules(fault, rules) < 0 || !colon) {
		free(fault);
		return error_set(err, EINVAL, "these are no rules: %s", text);
	}
	int r = test_device_open(colon + 1, read_only, &fault->below, err);
	if (r < 0) {
		free(fault);
		return r;
	}
	pthread_mutex_init(&fault->lock, NULL);
	fault->device = (struct block_device){
		.ops = &fault_ops, .size = fault->below->size, .read_only = read_only};
	*device = &fault->device;
	return 0;
}

int test_device_open(
	const char *text, bool read_only, struct block_device **device, struct ramet_error *err)
{
	uint64_t size = 0;
	if (strncmp(text, "fault:", 6) == 0)
		return open_fault(text + 6, read_only, device, err);
	bool memory = strncmp(text, "memory:", 7) == 0;
	if (memory && text_parse_size(text + 7, &size) < 0)
		return error_set(err, EINVAL, "this is no size: %s", text + 7);
	int fd = memory ? memfd_create("device", MFD_CLOEXEC)
			: open(text, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (fd < 0 || (memory && ftruncate(fd, (off_t)size) < 0))
		return error_errno(err, errno, "cannot open %s", text);
	int r = block_file_open(fd, read_only, device, err);
	if (r < 0)
		close(fd);
	return r;
}
