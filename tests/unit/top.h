/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of a test's own, which it works in: "top" is to be walked, "other" is beside it. */
#ifndef TESTS_TOP_H
#define TESTS_TOP_H

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/folder.h"
#include "source/source.h"
#include "tests/unit/tap.h"

static char folder[] = "/tmp/ramet-top.XXXXXX";
static const struct source_options quiet;

/* The tests' paths are relative to it. */
static inline void enter(void)
{
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	CHECK(mkdtemp(folder) != NULL && chdir(folder) == 0);
	CHECK(mkdir("top", 0755) == 0 && mkdir("other", 0755) == 0);
}

static inline void leave(void)
{
	CHECK(chdir("/tmp") == 0);
	CHECK_EQ(folder_remove(AT_FDCWD, folder), 0);
}

/* The tree of top, which is to be finished. */
static inline struct tree *walk(struct ramet_error *err)
{
	struct tree *tree = NULL;
	CHECK_EQ(tree_new(&tree, err), 0);
	CHECK_EQ(source_walk(tree, "top", &quiet, err), 0);
	return tree;
}

#endif
