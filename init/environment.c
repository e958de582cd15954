/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command's environment: what the image says (ramet.env), what the kernel handed on from its
 * command line (FOO=...), which was said for this boot and so counts more, and what a login has and
 * nobody gave. TERM is another matter: the kernel hands one on even when nobody asked.
 */
#include <string.h>
#include <sys/stat.h>

#include "init/machine.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define MOST_GIVEN   80 /* the kernel hands on 32 at most */

bool environment_names(const char *entry, const char *name)
{
	size_t length = strcspn(name, "=");
	return strncmp(entry, name, length) == 0 && entry[length] == '=';
}

static bool has(char *const *entries, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (environment_names(entries[i], name))
			return true;
	}
	return false;
}

static const char *home_of(const struct machine *machine, const struct user *user)
{
	struct stat info;
	if (*user->home)
		return user->home;
	bool root = user->uid == 0 && !machine->asked.user_count;
	return root && stat("/root", &info) == 0 ? "/root" : "/";
}

char **environment_make(const struct machine *machine, const struct user *user)
{
	static char *environment[MOST_GIVEN + CMDLINE_MAX_ENV + 8];
	static char home[1100], name[80], logname[80], shell[1100];
	const struct cmdline *asked = &machine->asked;
	size_t count = 0;
	for (char **given = machine->environment; *given && count < MOST_GIVEN; given++) {
		if (!environment_names(*given, "HOME") &&
			!environment_names(*given, INIT_ARG_OVERLAY_ROOT) &&
			!(environment_names(*given, "TERM") &&
				has(asked->env, asked->env_count, "TERM")))
			environment[count++] = *given;
	}
	for (size_t i = 0, from_kernel = count; i < asked->env_count; i++) {
		/* Of two with one name the last counts. */
		if (!has(environment, from_kernel, asked->env[i]) &&
			!has(asked->env + i + 1, asked->env_count - i - 1, asked->env[i]))
			environment[count++] = asked->env[i];
	}
	join(home, sizeof home, "HOME=", home_of(machine, user), NULL);
	join(name, sizeof name, "USER=", user->name, NULL);
	join(logname, sizeof logname, "LOGNAME=", user->name, NULL);
	join(shell, sizeof shell, "SHELL=", *user->shell ? user->shell : "/bin/sh", NULL);
	char *const usual[] = {(char *)DEFAULT_PATH, home, shell, name, logname};
	for (size_t i = 0, most = *user->name ? 5 : 3; i < most; i++) {
		if (!has(environment, count, usual[i]))
			environment[count++] = usual[i];
	}
	environment[count] = NULL;
	return environment;
}
