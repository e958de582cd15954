/* SPDX-License-Identifier: Apache-2.0 */
#include "changes/textdiff.h"

#include <errno.h>

#include "base/cleanup.h"
#include "tests/unit/tap.h"

/* Put together what the edits say, and compare it with new. */
static bool edits_yield(const struct lines *old, const struct lines *new, const struct edits *edits)
{
	uint32_t i = 0, j = 0;
	for (size_t e = 0; e <= edits->count; e++) {
		uint32_t until = e < edits->count ? edits->items[e].old_start : old->count;
		for (; i < until; i++, j++)
			if (j >= new->count || line_length(old, i) != line_length(new, j) ||
				memcmp(old->data + old->starts[i], new->data + new->starts[j],
					line_length(old, i)) != 0)
				return false;
		if (e == edits->count)
			break;
		if (edits->items[e].new_start != j)
			return false;
		i += edits->items[e].old_count;
		j += edits->items[e].new_count;
	}
	return i == old->count && j == new->count;
}

static uint32_t edits_size(const struct edits *edits)
{
	uint32_t size = 0;
	for (size_t e = 0; e < edits->count; e++)
		size += edits->items[e].old_count + edits->items[e].new_count;
	return size;
}

/* The length of the longest common subsequence, by the table that needs n * m. */
static uint32_t common(const char *a, size_t n, const char *b, size_t m)
{
	static uint32_t row[2][512];
	memset(row, 0, sizeof row);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < m; j++) {
			uint32_t *now = row[(i + 1) & 1], *before = row[i & 1];
			now[j + 1] = a[i] == b[j] ? before[j] + 1 : MAX(now[j], before[j + 1]);
		}
	return row[n & 1][m];
}

static void make_text(const char *letters, size_t count, char *text)
{
	for (size_t i = 0; i < count; i++) {
		text[2 * i] = letters[i];
		text[2 * i + 1] = '\n';
	}
}

static void test_edits_are_right_and_fewest(void)
{
	srand(tap_seed());
	for (int round = 0; round < 3000; round++) {
		char a[200], b[200], text_a[400], text_b[400];
		size_t n = (size_t)rand() % 60, m = (size_t)rand() % 60;
		int letters = 1 + rand() % 8;
		for (size_t i = 0; i < n; i++)
			a[i] = (char)('a' + rand() % letters);
		for (size_t i = 0; i < m; i++)
			b[i] = (char)('a' + (rand() % 3 && i < n ? a[i] - 'a' : rand() % letters));
		make_text(a, n, text_a);
		make_text(b, m, text_b);
		struct lines old, new;
		struct edits edits;
		REQUIRE(lines_split(text_a, 2 * n, &old) == 0);
		REQUIRE(lines_split(text_b, 2 * m, &new) == 0);
		REQUIRE(textdiff(&old, &new, &edits) == 0);
		CHECK(edits_yield(&old, &new, &edits));
		CHECK_EQ(edits_size(&edits), n + m - 2 * common(a, n, b, m));
		edits_free(&edits);
		lines_free(&old);
		lines_free(&new);
		if (tap_failed)
			return;
	}
}

/* Two texts of many lines from few, in no order: the search settles, and is still right. */
static void test_hopeless_texts_end(void)
{
	srand(tap_seed());
	enum { COUNT = 200000 };
	_cleanup_free_ char *a = malloc(2 * COUNT), *b = malloc(2 * COUNT);
	for (size_t i = 0; i < COUNT; i++) {
		a[2 * i] = (char)('a' + rand() % 20);
		b[2 * i] = (char)('a' + rand() % 20);
		a[2 * i + 1] = b[2 * i + 1] = '\n';
	}
	struct lines old, new;
	struct edits edits;
	REQUIRE(lines_split(a, (size_t)2 * COUNT, &old) == 0);
	REQUIRE(lines_split(b, (size_t)2 * COUNT, &new) == 0);
	clock_t start = clock();
	REQUIRE(textdiff(&old, &new, &edits) == 0);
	CHECK((clock() - start) / CLOCKS_PER_SEC < 20);
	CHECK(edits_yield(&old, &new, &edits));
	edits_free(&edits);
	lines_free(&old);
	lines_free(&new);
}

static void hunks(const char *a, const char *b, char *out, size_t size)
{
	struct lines old, new;
	struct edits edits;
	struct sink sink;
	FILE *file = tmpfile();
	lines_split(a, strlen(a), &old);
	lines_split(b, strlen(b), &new);
	textdiff(&old, &new, &edits);
	sink_open(&sink, fileno(file), NULL);
	textdiff_write(&sink, &old, &new, &edits);
	CHECK_EQ(sink_flush(&sink, NULL), 0);
	sink_free(&sink);
	memset(out, 0, size);
	CHECK(pread(fileno(file), out, size - 1, 0) >= 0);
	fclose(file);
	edits_free(&edits);
	lines_free(&old);
	lines_free(&new);
}

static void test_hunks_are_unified_diff(void)
{
	char out[1024];
	hunks("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n", out, sizeof out);
	CHECK_STR(out, "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
	hunks("", "a\nb\n", out, sizeof out);
	CHECK_STR(out, "@@ -0,0 +1,2 @@\n+a\n+b\n");
	hunks("a\n", "", out, sizeof out);
	CHECK_STR(out, "@@ -1 +0,0 @@\n-a\n");
	hunks("a", "a\n", out, sizeof out);
	CHECK_STR(out, "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n");
	hunks("x\na", "y\na", out, sizeof out);
	CHECK_STR(out, "@@ -1,2 +1,2 @@\n-x\n+y\n a\n\\ No newline at end of file\n");
}

static void test_far_edits_are_hunks_of_their_own(void)
{
	char out[1024];
	hunks("a\n1\n2\n3\n4\n5\n6\nb\n", "A\n1\n2\n3\n4\n5\n6\nB\n", out, sizeof out);
	CHECK(strstr(out + 2, "@@ -") == NULL);
	hunks("a\n1\n2\n3\n4\n5\n6\n7\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\nB\n", out, sizeof out);
	CHECK_STR(
		out, "@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-b\n+B\n");
}

static void test_too_many_lines_are_no_text(void)
{
	size_t size = (size_t)LINES_MAX + 1;
	_cleanup_free_ char *data = malloc(size);
	memset(data, '\n', size);
	struct lines lines;
	CHECK_EQ(lines_split(data, size, &lines), -EFBIG);
	lines_free(&lines);
	REQUIRE(lines_split(data, size - 1, &lines) == 0);
	CHECK_EQ(lines.count, LINES_MAX);
	lines_free(&lines);
}

TEST_MAIN({"edits are right, and the fewest there are", test_edits_are_right_and_fewest},
	{"two long texts with nothing in common end soon", test_hopeless_texts_end},
	{"hunks are those of a unified diff", test_hunks_are_unified_diff},
	{"edits with more than six lines between are two hunks",
		test_far_edits_are_hunks_of_their_own},
	{"a text of too many lines is refused", test_too_many_lines_are_no_text})
