/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers laid over a tree, rule by rule. A layer is written as its entries in order: "d PATH",
 * "f PATH", "s PATH TARGET", "h PATH TARGET", "c PATH" (a device), each optionally with "=MODE" behind
 * the letter. Files are numbered through all layers, from 1; a tree is written as its paths with the
 * file's number.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "source/content.h"
#include "source/layer.h"
#include "tests/unit/tap.h"

struct stack {
	struct tree *tree;
	struct layers *layers;
	uint64_t files;
	int64_t time;
	struct ramet_error err;
};

/* The files come from an archive, whose content nobody asks for. */
static const struct content_ops nothing;

static void stack_open(struct stack *stack)
{
	*stack = (struct stack){.time = 1000};
	CHECK_EQ(tree_new(&stack->tree, NULL), 0);
	struct tree_origin *origin = vector_push(&stack->tree->origins);
	REQUIRE(origin != NULL);
	*origin = (struct tree_origin){.path = strdup("archive"), .fd = -1, .content = &nothing};
	CHECK_EQ(layers_new(&stack->layers, stack->tree, NULL), 0);
}

static void stack_close(struct stack *stack)
{
	layers_finish(stack->layers);
	tree_free(stack->tree);
}
#define _cleanup_stack_ __attribute__((cleanup(stack_close)))

static int add(struct stack *stack, const char *line)
{
	_cleanup_free_ char *copy = strdup(line);
	char *save = NULL;
	const char *type = strtok_r(copy, " ", &save);
	const char *path = strtok_r(NULL, " ", &save);
	const char *target = strtok_r(NULL, " ", &save);
	const char *mode = strchr(type, '=');
	static const struct {
		char letter;
		uint32_t mode;
	} types[] = {{'d', S_IFDIR | 0755}, {'f', S_IFREG | 0644}, {'s', S_IFLNK | 0777}, {'h', 0},
		{'c', S_IFCHR | 0600}};
	struct layer_entry entry = {.path = path, .mtime = stack->time++, .rdev = makedev(1, 3)};
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].letter == *type)
			entry.mode = types[i].mode;
	if (mode)
		entry.mode = (entry.mode & S_IFMT) | (uint32_t)strtoul(mode + 1, NULL, 8);
	if (*type == 's')
		entry.symlink = target ? target : "";
	else if (*type == 'h')
		entry.hardlink = target ? target : "";
	entry.place = ++stack->files;
	return layers_add(stack->layers, &entry, &stack->err);
}

/* A layer; lines end with NULL. What the first entry that was refused was refused with. */
static int lay(struct stack *stack, const char *const *lines)
{
	int r = 0;
	layers_begin(stack->layers, 0, true);
	for (; *lines && r == 0; lines++)
		r = add(stack, *lines);
	return r;
}
#define LAY(stack, ...) lay((stack), (const char *const[]){__VA_ARGS__, NULL})

static void describe(const struct tree_node *node, struct text *text)
{
	if (!node->parent)
		return;
	tree_path(node, text);
	if (S_ISDIR(node->mode))
		text_append(text, "/");
	else if (S_ISLNK(node->mode))
		text_format(text, ">%s", node->target);
	else
		text_format(text, "=%llu", (unsigned long long)node->host_inode);
	text_append(text, " ");
}

/* Finish, and hold the tree against what it should be. */
static void expect(struct stack *stack, const char *paths)
{
	_cleanup_text_ struct text text = {0};
	layers_finish(TAKE_PTR(stack->layers));
	text_append(&text, "");
	for (struct tree_node *node = stack->tree->root; node; node = tree_next(node))
		describe(node, &text);
	CHECK_STR(text.data, paths);
	CHECK_EQ(tree_finish(stack->tree, NULL), 0);
}

/* One or two layers, and what comes of them. */
#define COMES_TO(paths, ...) \
	do { \
		_cleanup_stack_ struct stack own; \
		stack_open(&own); \
		CHECK_EQ(LAY(&own, __VA_ARGS__), 0); \
		expect(&own, paths); \
	} while (0)
#define OVER(lower, upper, paths) \
	do { \
		const char *const lower_[] = {LINES lower, NULL}; \
		const char *const upper_[] = {LINES upper, NULL}; \
		_cleanup_stack_ struct stack own; \
		stack_open(&own); \
		CHECK_EQ(lay(&own, lower_), 0); \
		CHECK_EQ(lay(&own, upper_), 0); \
		CHECK_STR(own.err.message, ""); \
		expect(&own, paths); \
	} while (0)
#define LINES(...) __VA_ARGS__
#define REFUSED(code, sentence, ...) \
	do { \
		_cleanup_stack_ struct stack own; \
		stack_open(&own); \
		CHECK_EQ(LAY(&own, __VA_ARGS__), -(code)); \
		CHECK(strstr(own.err.message, sentence)); \
	} while (0)

static void test_plain(void)
{
	COMES_TO("/a/ /a/b/ /a/b/c=3 /d=4 ", "d a", "d a/b", "f a/b/c", "f d");
	COMES_TO("/a/ /a/b/ /a/b/c=1 ", "f a/b/c");
	COMES_TO("/a=3 /b=2 /c=1 ", "f c", "f b", "f a");
}

static void test_names(void)
{
	COMES_TO("/a=1 /b=2 /c=3 /d/ /d/e=4 ", "f /a", "f ./b", "f .//./c", "f //d/./e");
	COMES_TO("/d/ ", "d ./", "d d/");
	REFUSED(EINVAL, "'a/../../b' is refused: '..'", "f a/../../b");
	REFUSED(EINVAL, "'../b' is refused", "f ../b");
	REFUSED(EINVAL, "'a/..' is refused", "d a/..");
	COMES_TO("/...=2 /..a=1 ", "f ..a", "f ...");
}

static void name_of(char *name, size_t length)
{
	memset(name, 'n', length);
	name[length] = '\0';
}

static void test_long_names(void)
{
	char line[300] = "f ", expected[300] = "/";
	name_of(line + 2, 255);
	name_of(expected + 1, 255);
	strcat(expected, "=1 ");
	COMES_TO(expected, line);
	name_of(line + 2, 256);
	REFUSED(ENAMETOOLONG, "a name of more than 255 bytes", line);
}

static void test_deep(void)
{
	_cleanup_text_ struct text path = {0};
	_cleanup_stack_ struct stack stack;
	text_append(&path, "f ");
	for (int i = 0; i < 3000; i++)
		text_append(&path, "deep/");
	text_append(&path, "end");
	stack_open(&stack);
	CHECK_EQ(LAY(&stack, path.data), 0);
	layers_finish(TAKE_PTR(stack.layers));
	CHECK_EQ(tree_finish(stack.tree, NULL), 0);
	CHECK_EQ(stack.tree->entries, 3002);
}

static void test_whiteout(void)
{
	OVER(("d a", "f a/x", "f a/y"), ("f a/.wh.x"), "/a/ /a/y=3 ");
	OVER(("d a", "f a/x", "f y"), ("f .wh.a"), "/y=3 ");
	/* What the layer itself has stays, whichever comes first. */
	OVER(("f a"), ("f .wh.a", "f a"), "/a=3 ");
	OVER(("f a"), ("f a", "f .wh.a"), "/a=2 ");
	OVER(("d a", "f a/x"), ("f .wh.a", "f a/y"), "/a/ /a/y=4 ");
	OVER(("d a", "f a/x"), ("f a/y", "f .wh.a"), "/a/ /a/y=3 ");
	OVER(("d a", "f a/x", "d a/b", "f a/b/z"), ("f a/b/y", "f .wh.a"), "/a/ /a/b/ /a/b/y=5 ");
	OVER(("d a", "f a/x"), ("d a", "f .wh.a"), "/a/ ");
}

static void test_whiteout_of_nothing(void)
{
	OVER(("f a"), ("f .wh.b", "f no/where/.wh.c", "f a/.wh.x", "f no/.wh..wh..opq"), "/a=1 ");
	REFUSED(EINVAL, "'.wh.' is refused", "f .wh.");
	REFUSED(EINVAL, "'a/.wh..' is refused", "f a/.wh..");
	REFUSED(EINVAL, "'.wh...' is refused", "f .wh...");
	REFUSED(EINVAL, "'.wh.a/b' is refused: it is below a whiteout", "f .wh.a/b");
}

static void test_opaque(void)
{
	OVER(("d a", "f a/x", "d a/b", "f a/b/z"), ("d a", "f a/.wh..wh..opq", "f a/y"),
		"/a/ /a/y=7 ");
	OVER(("d a", "f a/x", "d a/b", "f a/b/z"), ("d a", "f a/y", "f a/b/w", "f a/.wh..wh..opq"),
		"/a/ /a/b/ /a/b/w=7 /a/y=6 ");
	OVER(("f x", "d a", "f a/y"), ("f .wh..wh..opq", "f z"), "/z=5 ");
	/* Twice, and then more. */
	OVER(("d a", "f a/x"), ("f a/.wh..wh..opq", "f a/y", "f a/.wh..wh..opq", "f a/z"),
		"/a/ /a/y=4 /a/z=6 ");
}

/* A directory that the layer went through without describing it, below a whiteout, is one that nobody
 * described, in either order. */
static void test_implied(void)
{
	const char *const orders[][3] = {
		{"f .wh.a", "f a/b/y", NULL}, {"f a/b/y", "f .wh.a", NULL}};
	for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
		_cleanup_stack_ struct stack stack;
		stack_open(&stack);
		CHECK_EQ(LAY(&stack, "d=700 a", "d=711 a/b", "f a/b/x"), 0);
		CHECK_EQ(lay(&stack, orders[i]), 0);
		layers_finish(TAKE_PTR(stack.layers));
		const struct tree_node *a = tree_find(stack.tree->root, "a");
		REQUIRE(a && a->first);
		CHECK_EQ(a->mode, S_IFDIR | 0755);
		CHECK_EQ(a->first->mode, S_IFDIR | 0755);
		CHECK_EQ(a->mtime, stack.tree->root->mtime);
		CHECK_STR(a->first->first->name, "y");
		CHECK(!a->first->first->next);
	}
}

static void test_bookkeeping(void)
{
	OVER(("f a"),
		("d .wh..wh.plnk", "f .wh..wh.plnk/1.2", "f .wh..wh.aufs", "f d/.wh..wh.orph"),
		"/a=1 ");
}

static void test_names_without_whiteouts(void)
{
	_cleanup_stack_ struct stack stack;
	stack_open(&stack);
	layers_begin(stack.layers, 0, false);
	CHECK_EQ(add(&stack, "f a"), 0);
	CHECK_EQ(add(&stack, "f .wh.a"), 0);
	CHECK_EQ(add(&stack, "f .wh..wh..opq"), 0);
	expect(&stack, "/.wh..wh..opq=3 /.wh.a=2 /a=1 ");
}

static void test_directory_over_directory(void)
{
	_cleanup_stack_ struct stack stack;
	stack_open(&stack);
	CHECK_EQ(LAY(&stack, "d=700 a", "f a/x"), 0);
	CHECK_EQ(LAY(&stack, "d=711 a"), 0);
	layers_finish(TAKE_PTR(stack.layers));
	const struct tree_node *a = tree_find(stack.tree->root, "a");
	REQUIRE(a != NULL);
	CHECK_EQ(a->mode, S_IFDIR | 0711);
	CHECK_EQ(a->mtime, 1002);
	CHECK(a->first && !a->first->next);
}

static void test_other_types(void)
{
	OVER(("d a", "f a/x"), ("f a"), "/a=3 ");
	OVER(("d a", "f a/x"), ("s a b"), "/a>b ");
	OVER(("f a"), ("d a", "f a/y"), "/a/ /a/y=3 ");
	OVER(("s a b", "d b"), ("d a", "f a/y"), "/a/ /a/y=4 /b/ ");
	/* There and back again, in one layer: what was in it before is gone. */
	COMES_TO("/a/ /a/y=5 ", "d a", "f a/x", "f a", "d a", "f a/y");
	OVER(("d a", "f a/x"), ("f a", "d a"), "/a/ ");
	OVER(("d a", "d a/b", "f a/b/x"), ("f a", "d a", "d a/b"), "/a/ /a/b/ ");
}

static void test_duplicates(void)
{
	COMES_TO("/a=3 ", "f a", "f a", "f a");
	COMES_TO("/a>y ", "s a x", "s a y");
	COMES_TO("/a=2 ", "s a x", "f a");
}

static void test_symlinked_parents(void)
{
	COMES_TO("/b/ /b/x=3 /l>b ", "d b", "s l b", "f l/x");
	COMES_TO("/b/ /b/x=3 /l>/b ", "d b", "s l /b", "f l/x");
	/* Never out: the root's parent is the root. */
	COMES_TO("/etc/ /etc/x=2 /l>../../../etc ", "s l ../../../etc", "f l/x");
	COMES_TO("/l>/.. /x=2 ", "s l /..", "f l/x");
	COMES_TO("/d/ /d/l>../e/./f /e/ /e/f/ /e/f/x=3 ", "d d", "s d/l ../e/./f", "f d/l/x");
	/* The last name is not followed. */
	COMES_TO("/b=1 /l=3 ", "f b", "s l b", "f l");
	OVER(("d b", "f b/x", "s l b"), ("f l/.wh.x"), "/b/ /l>b ");
	/* What was found through a symlink is looked for again once the symlink is another. */
	COMES_TO("/b/ /b/x=4 /c/ /c/x=6 /l>c ", "d b", "d c", "s l b", "f l/x", "s l c", "f l/x");
	COMES_TO("/b/ /b/x=3 /l/ /l/x=5 ", "d b", "s l b", "f l/x", "d l", "f l/x");
	REFUSED(ELOOP, "'l/x' is refused", "s l l", "f l/x");
	REFUSED(ELOOP, "goes round in circles", "s a b/c", "s b a/c", "f a/x");
	REFUSED(ENOTDIR, "'f/x' is refused: /f is no folder", "f f", "f f/x");
	REFUSED(ENOTDIR, "/f is no folder", "f f", "s l f", "f l/x");
}

static void test_hard_links(void)
{
	COMES_TO("/a=1 /b=1 ", "f a", "h b a");
	/* Across layers. */
	OVER(("d d", "f d/a"), ("h b d/a"), "/b=2 /d/ /d/a=2 ");
	OVER(("f a"), ("h b a", "f .wh.a"), "/b=1 ");
	/* Replacing one name leaves the other. */
	OVER(("f a", "h b a"), ("f a"), "/a=3 /b=1 ");
	/* To a symlink, a device, to itself. */
	COMES_TO("/a>x /b>x ", "s a x", "h b a");
	COMES_TO("/a=1 /b=1 ", "c a", "h b a");
	COMES_TO("/a=1 ", "f a", "h a a");
	COMES_TO("/a=1 /c=1 ", "f a", "f c", "h c a");
	COMES_TO("/a=1 /c=1 ", "f a", "d c", "f c/x", "h c a");
	/* The target is looked up inside the tree. */
	COMES_TO("/a=1 /b=1 /c=1 /d=1 ", "f a", "h b /a", "h c ../../a", "h d ./a");
	COMES_TO("/d/ /d/a=2 /e=2 /l>../../d ", "d d", "f d/a", "s l ../../d", "h e l/a");
	REFUSED(ENOENT, "the hard link 'b' is refused: there is no 'a'", "h b a");
	REFUSED(ENOENT, "there is no '/etc/passwd'", "h b /etc/passwd");
	REFUSED(ENOENT, "there is no 'a/x'", "f a", "h b a/x");
	REFUSED(EPERM, "'d' is a folder", "d d", "h b d");
	REFUSED(EPERM, "'..' is a folder", "h b ..");
}

static void test_links_are_found(void)
{
	_cleanup_stack_ struct stack stack;
	stack_open(&stack);
	CHECK_EQ(LAY(&stack, "f=4711 a"), 0);
	CHECK_EQ(LAY(&stack, "h b a", "h c b"), 0);
	layers_finish(TAKE_PTR(stack.layers));
	CHECK_EQ(tree_finish(stack.tree, NULL), 0);
	CHECK_EQ(stack.tree->entries, 4);
	CHECK_EQ(stack.tree->inodes, 2);
	const struct tree_node *c = tree_find(stack.tree->root, "c");
	CHECK(c && tree_link(c) == tree_find(stack.tree->root, "a"));
	CHECK_EQ(c->mode, S_IFREG | 04711);
}

static void test_root(void)
{
	_cleanup_stack_ struct stack stack;
	stack_open(&stack);
	CHECK_EQ(stack.tree->root->mode, S_IFDIR | 0755);
	CHECK_EQ(LAY(&stack, "f a", "d=1777 ./", "d=1770 /"), 0);
	CHECK_EQ(stack.tree->root->mode, S_IFDIR | 01770);
	CHECK_EQ(stack.tree->root->mtime, 1002);
	expect(&stack, "/a=1 ");
	REFUSED(ENOTDIR, "the root of a tree is a folder", "f .");
	REFUSED(ENOTDIR, "the root of a tree is a folder", "s / x");
}

static void test_other_refusals(void)
{
	REFUSED(EINVAL, "a symlink's target has 1 to 4095 bytes", "s a");
	_cleanup_text_ struct text line = {0};
	text_append(&line, "s a ");
	for (int i = 0; i < 4096; i++)
		text_append(&line, "t");
	REFUSED(EINVAL, "a symlink's target has 1 to 4095 bytes", line.data);
	text_truncate(&line, 4 + 4095);
	_cleanup_stack_ struct stack stack;
	stack_open(&stack);
	CHECK_EQ(LAY(&stack, line.data), 0);
	struct layer_entry huge = {.path = "h", .mode = S_IFREG, .size = (uint64_t)1 << 63};
	CHECK_EQ(layers_add(stack.layers, &huge, &stack.err), -EFBIG);
	struct layer_entry odd = {.path = "o", .mode = 0};
	CHECK_EQ(layers_add(stack.layers, &odd, &stack.err), -EINVAL);
}

/* On a tree that is there already, and again after that. */
static void test_second_time(void)
{
	_cleanup_stack_ struct stack stack;
	stack_open(&stack);
	CHECK_EQ(LAY(&stack, "d a", "f a/x", "f b"), 0);
	layers_finish(TAKE_PTR(stack.layers));
	CHECK_EQ(layers_new(&stack.layers, stack.tree, NULL), 0);
	CHECK_EQ(LAY(&stack, "f a/.wh.x", "f a/y", "f .wh.b"), 0);
	expect(&stack, "/a/ /a/y=5 ");
}

/* Hostile order: a tree with many names must not take quadratic time. */
static void test_many(void)
{
	enum { MANY = 500000 };
	_cleanup_stack_ struct stack stack;
	stack_open(&stack);
	layers_begin(stack.layers, 0, true);
	clock_t start = clock();
	char path[64];
	struct layer_entry entry = {.path = path, .mode = S_IFREG | 0644};
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(path, sizeof path, "one/%u", i * 2654435761u);
		entry.place = i + 1;
		REQUIRE(layers_add(stack.layers, &entry, NULL) == 0);
	}
	layers_begin(stack.layers, 0, true);
	for (unsigned i = 0; i < MANY; i += 2) {
		snprintf(path, sizeof path, "one/.wh.%u", i * 2654435761u);
		REQUIRE(layers_add(stack.layers, &entry, NULL) == 0);
	}
	layers_finish(TAKE_PTR(stack.layers));
	CHECK_EQ(tree_finish(stack.tree, NULL), 0);
	CHECK_EQ(stack.tree->entries, MANY / 2 + 2);
	double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
	printf("# %d names in one directory: %.2f s\n", MANY, seconds);
	CHECK(seconds < 15);
	const struct tree_node *before = NULL;
	for (const struct tree_node *node = stack.tree->root->first->first; node;
		node = node->next) {
		REQUIRE(!before || strcmp(before->name, node->name) < 0);
		before = node;
	}
}

/* Emptying the same large directory again and again costs nothing more. */
static void test_many_whiteouts(void)
{
	enum { MANY = 100000 };
	_cleanup_stack_ struct stack stack;
	stack_open(&stack);
	layers_begin(stack.layers, 0, true);
	char path[64];
	struct layer_entry entry = {.path = path, .mode = S_IFREG | 0644};
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(path, sizeof path, "one/%u", i);
		REQUIRE(layers_add(stack.layers, &entry, NULL) == 0);
	}
	layers_begin(stack.layers, 0, true);
	clock_t start = clock();
	static const char *const again[] = {"f one/.wh..wh..opq", "f .wh.one", "f one/x"};
	for (unsigned i = 0; i < 3 * MANY; i++)
		REQUIRE(add(&stack, again[i % 3]) == 0);
	CHECK((double)(clock() - start) / CLOCKS_PER_SEC < 15);
	layers_finish(TAKE_PTR(stack.layers));
	CHECK_EQ(tree_finish(stack.tree, NULL), 0);
	CHECK_EQ(stack.tree->entries, 3);
}

TEST_MAIN({"entries become a tree, parents are made, directories are sorted", test_plain},
	{"\"/\" and \"./\" in front do not matter; \"..\" is refused", test_names},
	{"a name has at most 255 bytes", test_long_names},
	{"3000 directories one in the other", test_deep},
	{"a whiteout takes away what lower layers have, and nothing else", test_whiteout},
	{"a whiteout of nothing is nothing; one without a name is refused",
		test_whiteout_of_nothing},
	{"an opaque directory is empty but for its own layer", test_opaque},
	{"a directory that only its content implies has no attributes of a lower one",
		test_implied},
	{"the bookkeeping of AUFS is left out", test_bookkeeping},
	{"without whiteouts they are names like others", test_names_without_whiteouts},
	{"a directory over a directory keeps what it holds", test_directory_over_directory},
	{"anything else replaces what is there", test_other_types},
	{"of two entries of one name the last counts", test_duplicates},
	{"symlinks on the way are followed inside the tree", test_symlinked_parents},
	{"hard links: across layers, to what the tree has, never out", test_hard_links},
	{"hard links are found as such, with their attributes", test_links_are_found},
	{"the root takes attributes, and stays a directory", test_root},
	{"targets, sizes and types that cannot be are refused", test_other_refusals},
	{"layers go on a tree that is there", test_second_time},
	{"500,000 names in one directory", test_many},
	{"the same whiteout many times", test_many_whiteouts})
