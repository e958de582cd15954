/* SPDX-License-Identifier: Apache-2.0 */
/* Programs in PATH, and what they say of themselves. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "api/doctor.h"
#include "api/server_start.h"
#include "base/cleanup.h"
#include "base/program.h"

enum { ANSWER_MS = 10000 };

/* The first line of `PATH --version`; NULL when there is none. A program that hangs is killed. */
static const char *ask_version(const char *path, struct text *answer)
{
	const char *const argv[] = {path, "--version", NULL};
	const struct program program = {.argv = argv, .timeout_ms = ANSWER_MS, .drop_errors = true};
	int status;
	if (program_run(&program, answer, &status, NULL) < 0 || !answer->data)
		return NULL;
	text_truncate(answer, strcspn(answer->data, "\n"));
	return answer->length ? answer->data : NULL;
}

static bool find_versioned(
	const char *name, const char *what_to_do, struct text *detail, struct text *advice)
{
	_cleanup_text_ struct text path = {0};
	text_append(advice, what_to_do);
	if (!program_find(name, &path)) {
		text_format(detail, "%s is not in PATH", name);
		return false;
	}
	_cleanup_text_ struct text answer = {0};
	const char *version = ask_version(path.data, &answer);
	text_format(
		detail, "%s, %s", path.data, version ? version : "which does not tell its version");
	return version != NULL;
}

bool doctor_find_firecracker(struct ramet_store *store, struct text *detail, struct text *advice)
{
	return find_versioned("firecracker",
		"put a firecracker binary of its project's releases into PATH; QEMU serves until then",
		detail, advice);
}

bool doctor_find_qemu(struct ramet_store *store, struct text *detail, struct text *advice)
{
	return find_versioned(
		"qemu-system-x86_64", "install the package qemu-system-x86", detail, advice);
}

bool doctor_find_fuse(struct ramet_store *store, struct text *detail, struct text *advice)
{
	_cleanup_close_ int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (device < 0) {
		char text[128];
		text_format(detail, "/dev/fuse: %s", strerror_r(errno, text, sizeof text));
		text_append(advice, "modprobe fuse, or give the container the device");
		return false;
	}
	_cleanup_text_ struct text helper = {0};
	bool has_helper = program_find("fusermount3", &helper);
	text_append(detail, "/dev/fuse opens");
	if (has_helper)
		text_format(detail, ", %s is there", helper.data);
	else
		text_append(detail, ", fusermount3 is not in PATH");
	/* Root mounts without the helper. */
	text_append(advice, "install the package fuse3");
	return has_helper || geteuid() == 0;
}

bool doctor_find_server(struct ramet_store *store, struct text *detail, struct text *advice)
{
	struct ramet_error err = {0};
	_cleanup_text_ struct text path = {0};
	int r = server_find(&path, &err);
	text_append(detail, r == 0 ? path.data : err.message);
	text_append(advice, "install ramet whole; lazy images cannot be served without it");
	return r == 0;
}
