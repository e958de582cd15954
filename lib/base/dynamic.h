/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Libraries that few commands need, loaded when one does. The time in which a process starts is
 * much of what a command of a few milliseconds costs, and it is spent on the libraries' relocations:
 * libarchive with what it needs in turn (libxml2, ICU), and libkmod with libcrypto, take 5 ms of it.
 *
 * A user of a library lists its functions and gets a struct of them:
 *
 *     #define FUNCTIONS(F) F(kmod_new) F(kmod_unref)
 *     DYNAMIC_LIBRARY(kmod_library, FUNCTIONS)
 *     struct kmod_library kmod = {0};
 *     int r = kmod_library_load(&kmod, "libkmod.so.2", err);
 *     kmod.kmod_new(...);
 *     dynamic_close(&kmod.library);
 */
#ifndef BASE_DYNAMIC_H
#define BASE_DYNAMIC_H

#include "base/error.h"

struct dynamic_library {
	void *handle;
};

#define DYNAMIC_MEMBER(name) __typeof__(name) *name;
#define DYNAMIC_NAME(name)   #name,
#define DYNAMIC_LIBRARY(type, FUNCTIONS) \
	struct type { \
		struct dynamic_library library; \
		FUNCTIONS(DYNAMIC_MEMBER) \
	}; \
	static int type##_load(struct type *into, const char *soname, struct ramet_error *err) \
	{ \
		static const char *const names[] = {FUNCTIONS(DYNAMIC_NAME) NULL}; \
		return dynamic_load(&into->library, soname, names, &into->library + 1, err); \
	}

/* Load soname and find the functions named, up to NULL; functions is an array of as many pointers.
 * -ELIBACC and a sentence when the library, or one of them, is not there. */
int dynamic_load(struct dynamic_library *library, const char *soname, const char *const *names,
	void *functions, struct ramet_error *err);
/* Nothing for a library that was not loaded (zeroed). */
void dynamic_close(struct dynamic_library *library);

#endif
