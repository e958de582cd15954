/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines become numbers (equal lines, equal numbers). Those that the other text has not got at all
 * are changed, whatever else: they are taken out first, which changes nothing about the rest. What
 * is left is compared by E. W. Myers, "An O(ND) Difference Algorithm and Its Variations" (1986),
 * the variation in linear space: from both corners of the edit graph, the furthest point on each
 * diagonal with 1, 2, 3... edits, until the two meet; then each half by itself.
 *
 * Here the halves stand in a vector, not on the stack; and after COST_MAX edits the search settles
 * for the point that came furthest, so that two texts with nothing in common cost no more than
 * COST_MAX steps for each line.
 */
#include "changes/textdiff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/vector.h"

enum { COST_MAX = 512 };

int lines_split(const char *data, size_t length, struct lines *lines)
{
	*lines = (struct lines){.data = data};
	if (length > LINES_BYTES_MAX)
		return -EFBIG;
	size_t count = 0;
	for (const char *p = data, *end = data + length; p < end; count++) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		p = newline ? newline + 1 : end;
	}
	if (count > LINES_MAX)
		return -EFBIG;
	lines->starts = calloc(count + 1, sizeof *lines->starts);
	if (!lines->starts)
		return -ENOMEM;
	for (const char *p = data, *end = data + length; p < end;) {
		lines->starts[lines->count++] = (uint32_t)(p - data);
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		p = newline ? newline + 1 : end;
	}
	lines->starts[lines->count] = (uint32_t)length;
	return 0;
}

void lines_free(struct lines *lines)
{
	free(lines->starts);
	*lines = (struct lines){0};
}

/* ------------------------------------------------------------------------------------------- */
/* Numbering.                                                                                   */

struct numbering {
	struct slot {
		const char *line; /* NULL: free */
		uint32_t length, number;
	} * slots;
	size_t mask;
	uint32_t next;
};

static uint64_t line_hash(const char *line, size_t length)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)line[i]) * UINT64_C(0x100000001b3);
	return hash ^ hash >> 29;
}

static uint32_t number_line(struct numbering *n, const char *line, size_t length)
{
	size_t i = (size_t)line_hash(line, length) & n->mask;
	while (n->slots[i].line &&
		(n->slots[i].length != length || memcmp(n->slots[i].line, line, length) != 0))
		i = (i + 1) & n->mask;
	if (!n->slots[i].line)
		n->slots[i] = (struct slot){line, (uint32_t)length, n->next++};
	return n->slots[i].number;
}

/* ------------------------------------------------------------------------------------------- */
/* One text while it is compared.                                                               */

struct side {
	const struct lines *lines;
	uint32_t *numbers; /* of each line */
	bool *changed;     /* each line: it has no partner */
	int32_t *kept;     /* the lines that the other text has too: their places... */
	uint32_t *value;   /* ... and numbers */
	int32_t kept_count;
};

static int side_make(struct side *side, const struct lines *lines, struct numbering *numbering)
{
	size_t room = (size_t)lines->count + 1;
	*side = (struct side){.lines = lines,
		.numbers = calloc(room, sizeof *side->numbers),
		.changed = calloc(room, sizeof *side->changed),
		.kept = calloc(room, sizeof *side->kept),
		.value = calloc(room, sizeof *side->value)};
	if (!side->numbers || !side->changed || !side->kept || !side->value)
		return -ENOMEM;
	for (uint32_t i = 0; i < lines->count; i++)
		side->numbers[i] = number_line(
			numbering, lines->data + lines->starts[i], line_length(lines, i));
	return 0;
}

static void side_release(struct side *side)
{
	free(side->numbers);
	free(side->changed);
	free(side->kept);
	free(side->value);
}

/* Keep the lines whose number has the bit in seen; the others are changed. */
static void side_keep(struct side *side, const unsigned char *seen, unsigned char bit)
{
	for (uint32_t i = 0; i < side->lines->count; i++) {
		uint32_t number = side->numbers[i];
		side->changed[i] = !(seen[number] & bit);
		if (side->changed[i])
			continue;
		side->value[side->kept_count] = number;
		side->kept[side->kept_count++] = (int32_t)i;
	}
}

/* ------------------------------------------------------------------------------------------- */
/* Myers.                                                                                       */

/* A part of the edit graph: x goes through old, y through new. */
struct box {
	int32_t x0, x1, y0, y1;
};
struct point {
	int32_t x, y;
};

struct search {
	struct side *old, *new;
	/* The furthest x on each diagonal x - y, from the first and from the last corner. Both have
	 * room for every diagonal of the whole graph and one more on each side. */
	int32_t *forward, *backward;
	VECTOR(struct box) boxes;
};

/* The diagonals that one direction has reached. */
struct reach {
	int32_t least, most;
};

/* One more diagonal on both sides, unless the box ends there; `outside` loses every comparison. */
static void reach_widen(
	struct reach *reach, const struct box *box, int32_t *furthest, int32_t outside)
{
	if (reach->least > box->x0 - box->y1)
		furthest[--reach->least - 1] = outside;
	else
		reach->least++;
	if (reach->most < box->x1 - box->y0)
		furthest[++reach->most + 1] = outside;
	else
		reach->most--;
}

/* One more edit from the first corner; true when it met the other direction, at *met. */
static bool step_forward(struct search *s, const struct box *box, struct reach *reach,
	const struct reach *other, struct point *met)
{
	reach_widen(reach, box, s->forward, -1);
	for (int32_t d = reach->most; d >= reach->least; d -= 2) {
		int32_t below = s->forward[d - 1], above = s->forward[d + 1];
		int32_t x = below < above ? above : below + 1;
		int32_t y = x - d;
		while (x < box->x1 && y < box->y1 && s->old->value[x] == s->new->value[y]) {
			x++;
			y++;
		}
		s->forward[d] = x;
		if (other && d >= other->least && d <= other->most && s->backward[d] <= x) {
			*met = (struct point){x, y};
			return true;
		}
	}
	return false;
}

static bool step_backward(struct search *s, const struct box *box, struct reach *reach,
	const struct reach *other, struct point *met)
{
	reach_widen(reach, box, s->backward, INT32_MAX);
	for (int32_t d = reach->most; d >= reach->least; d -= 2) {
		int32_t below = s->backward[d - 1], above = s->backward[d + 1];
		int32_t x = below < above ? below : above - 1;
		int32_t y = x - d;
		while (x > box->x0 && y > box->y0 && s->old->value[x - 1] == s->new->value[y - 1]) {
			x--;
			y--;
		}
		s->backward[d] = x;
		if (other && d >= other->least && d <= other->most && x <= s->forward[d]) {
			*met = (struct point){x, y};
			return true;
		}
	}
	return false;
}

/* The point of both directions that came furthest, kept within the box. */
static struct point settle(const struct search *s, const struct box *box,
	const struct reach *forward, const struct reach *backward)
{
	struct point best = {box->x0, box->y0};
	int64_t won = 0;
	for (int32_t d = forward->most; d >= forward->least; d -= 2) {
		int32_t x = MIN(s->forward[d], MIN(box->x1, box->y1 + d));
		int64_t way = (int64_t)x + (x - d) - box->x0 - box->y0;
		if (way > won) {
			won = way;
			best = (struct point){x, x - d};
		}
	}
	for (int32_t d = backward->most; d >= backward->least; d -= 2) {
		int32_t x = MAX(s->backward[d], MAX(box->x0, box->y0 + d));
		int64_t way = (int64_t)box->x1 + box->y1 - x - (x - d);
		if (way > won) {
			won = way;
			best = (struct point){x, x - d};
		}
	}
	return best;
}

/* A point on a shortest way through the box (or a good one), never a corner: both sides of the
 * box are not empty, and differ at both ends. */
static struct point find_middle(struct search *s, const struct box *box)
{
	int32_t first = box->x0 - box->y0, last = box->x1 - box->y1;
	struct reach forward = {first, first}, backward = {last, last};
	bool odd = (first - last) & 1;
	struct point met;
	s->forward[first] = box->x0;
	s->backward[last] = box->x1;
	for (int cost = 0; cost < COST_MAX; cost++) {
		if (step_forward(s, box, &forward, odd ? &backward : NULL, &met))
			return met;
		if (step_backward(s, box, &backward, odd ? NULL : &forward, &met))
			return met;
	}
	return settle(s, box, &forward, &backward);
}

static void mark(struct side *side, int32_t from, int32_t to)
{
	for (int32_t i = from; i < to; i++)
		side->changed[side->kept[i]] = true;
}

static int search_box(struct search *s, struct box box)
{
	const uint32_t *a = s->old->value, *b = s->new->value;
	while (box.x0 < box.x1 && box.y0 < box.y1 && a[box.x0] == b[box.y0]) {
		box.x0++;
		box.y0++;
	}
	while (box.x0 < box.x1 && box.y0 < box.y1 && a[box.x1 - 1] == b[box.y1 - 1]) {
		box.x1--;
		box.y1--;
	}
	if (box.x0 == box.x1 || box.y0 == box.y1) {
		mark(s->old, box.x0, box.x1);
		mark(s->new, box.y0, box.y1);
		return 0;
	}
	struct point middle = find_middle(s, &box);
	struct box halves[2] = {
		{box.x0, middle.x, box.y0, middle.y}, {middle.x, box.x1, middle.y, box.y1}};
	for (int i = 0; i < 2; i++) {
		struct box *half = vector_push(&s->boxes);
		if (!half)
			return -ENOMEM;
		*half = halves[i];
	}
	return 0;
}

static int search_all(struct side *old, struct side *new)
{
	size_t room = (size_t)old->kept_count + (size_t) new->kept_count + 3;
	_cleanup_free_ int32_t *forward = calloc(room, sizeof *forward);
	_cleanup_free_ int32_t *backward = calloc(room, sizeof *backward);
	if (!forward || !backward)
		return -ENOMEM;
	/* Diagonal 0 stands after the negative ones, of which there are as many as lines in new. */
	struct search s = {.old = old,
		.new = new,
		.forward = forward + new->kept_count + 1,
		.backward = backward + new->kept_count + 1};
	int r = search_box(&s, (struct box){0, old->kept_count, 0, new->kept_count});
	while (r == 0 && s.boxes.count)
		r = search_box(&s, s.boxes.items[--s.boxes.count]);
	vector_free(&s.boxes);
	return r;
}

/* ------------------------------------------------------------------------------------------- */

static int collect(const struct side *old, const struct side *new, struct edits *edits)
{
	uint32_t i = 0, j = 0, old_count = old->lines->count, new_count = new->lines->count;
	while (i < old_count || j < new_count) {
		struct edit edit = {.old_start = i, .new_start = j};
		while (i < old_count && old->changed[i])
			i++;
		while (j < new_count && new->changed[j])
			j++;
		edit.old_count = i - edit.old_start;
		edit.new_count = j - edit.new_start;
		if (edit.old_count || edit.new_count) {
			struct edit *place = vector_push(edits);
			if (!place)
				return -ENOMEM;
			*place = edit;
		} else {
			i++;
			j++;
		}
	}
	return 0;
}

static int compare_sides(struct side *old, struct side *new, uint32_t numbers, struct edits *edits)
{
	_cleanup_free_ unsigned char *seen = calloc((size_t)numbers + 1, 1);
	if (!seen)
		return -ENOMEM;
	for (uint32_t i = 0; i < old->lines->count; i++)
		seen[old->numbers[i]] |= 1;
	for (uint32_t i = 0; i < new->lines->count; i++)
		seen[new->numbers[i]] |= 2;
	side_keep(old, seen, 2);
	side_keep(new, seen, 1);
	int r = search_all(old, new);
	return r < 0 ? r : collect(old, new, edits);
}

int textdiff(const struct lines *old, const struct lines *new, struct edits *edits)
{
	*edits = (struct edits){0};
	size_t slots = 16;
	while (slots < ((size_t)old->count + new->count) * 2)
		slots *= 2;
	_cleanup_free_ struct slot *table = calloc(slots, sizeof *table);
	if (!table)
		return -ENOMEM;
	struct numbering numbering = {.slots = table, .mask = slots - 1};
	struct side a, b = {0};
	int r = side_make(&a, old, &numbering);
	if (r == 0)
		r = side_make(&b, new, &numbering);
	if (r == 0)
		r = compare_sides(&a, &b, numbering.next, edits);
	side_release(&a);
	side_release(&b);
	if (r < 0)
		edits_free(edits);
	return r;
}

void edits_free(struct edits *edits)
{
	vector_free(edits);
}
