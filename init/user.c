/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users as runtimes of containers understand them: USER or USER:GROUP, each a name or a number. A
 * number need not be in /etc/passwd: its group is then 0. Without a GROUP the user's further groups
 * are those of /etc/group that name it. The forms are passwd(5) and group(5); libc's functions for
 * them would be half as large as all of this program.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <unistd.h>

#include "init/machine.h"

/* A file of lines; a longer line than this is cut. */
struct lines {
	int fd;
	size_t start, end;
	char buffer[16384];
};

static bool lines_open(struct lines *lines, const char *path)
{
	lines->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	lines->start = lines->end = 0;
	return lines->fd >= 0;
}

static bool lines_fill(struct lines *lines)
{
	memmove(lines->buffer, lines->buffer + lines->start, lines->end - lines->start);
	lines->end -= lines->start;
	lines->start = 0;
	ssize_t n = read(
		lines->fd, lines->buffer + lines->end, sizeof lines->buffer - 1 - lines->end);
	if (n > 0)
		lines->end += (size_t)n;
	return n > 0;
}

/* The next line without its newline, or NULL. */
static char *lines_next(struct lines *lines)
{
	bool more = true;
	for (;;) {
		char *line = lines->buffer + lines->start;
		char *newline = memchr(line, '\n', lines->end - lines->start);
		bool full = lines->start == 0 && lines->end == sizeof lines->buffer - 1;
		if (!newline && more && !full) {
			more = lines_fill(lines);
			continue;
		}
		if (!newline && lines->start == lines->end)
			return NULL;
		char *end = newline ? newline : lines->buffer + lines->end;
		*end = '\0';
		lines->start = (size_t)(end - lines->buffer) + (newline != NULL);
		return line;
	}
}

/* Cut the text up to the next separator off; *rest is then behind it. */
static char *cut(char **rest, char separator)
{
	char *start = *rest, *end = strchr(start, separator);
	*rest = end ? end + 1 : start + strlen(start);
	if (end)
		*end = '\0';
	return start;
}

/* All digits, and at most 2^32 - 2: the last number means "nobody". */
static bool to_number(const char *text, uint32_t *value)
{
	uint64_t sum = 0;
	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		sum = sum * 10 + (uint64_t)(*text - '0');
		if (sum >= UINT32_MAX)
			return false;
	}
	*value = (uint32_t)sum;
	return true;
}

/* By name, or by number where it is one. True when it was found. */
static bool passwd_find(const char *word, bool is_number, struct user *user)
{
	static struct lines lines;
	uint32_t uid, gid;
	bool found = false;
	if (!lines_open(&lines, "/etc/passwd"))
		return false;
	for (char *line; !found && (line = lines_next(&lines));) {
		char *name = cut(&line, ':');
		cut(&line, ':');
		const char *id = cut(&line, ':'), *group = cut(&line, ':');
		if (!*name || !to_number(id, &uid) || !to_number(group, &gid))
			continue;
		found = strcmp(name, word) == 0 || (is_number && uid == user->uid);
		if (!found)
			continue;
		cut(&line, ':');
		const char *home = cut(&line, ':');
		user->uid = uid;
		user->gid = gid;
		join(user->name, sizeof user->name, name, NULL);
		join(user->home, sizeof user->home, home, NULL);
		join(user->shell, sizeof user->shell, cut(&line, ':'), NULL);
	}
	close(lines.fd);
	return found;
}

static bool is_member(char *members, const char *name)
{
	while (*members) {
		if (strcmp(cut(&members, ','), name) == 0)
			return true;
	}
	return false;
}

/* word: the group that is looked for; NULL: those that the user is in. True when one was found. */
static bool group_find(const char *word, bool is_number, struct user *user)
{
	static struct lines lines;
	const size_t most = sizeof user->groups / sizeof *user->groups - CMDLINE_MAX_GROUPS;
	uint32_t gid;
	bool found = false;
	if (!lines_open(&lines, "/etc/group"))
		return false;
	for (char *line; !(found && word) && (line = lines_next(&lines));) {
		const char *name = cut(&line, ':');
		cut(&line, ':');
		if (!to_number(cut(&line, ':'), &gid) || !*name)
			continue;
		if (word) {
			found = strcmp(name, word) == 0 || (is_number && gid == user->gid);
			if (found)
				user->gid = gid;
		} else if (*user->name && is_member(line, user->name) && user->group_count < most) {
			user->groups[user->group_count++] = gid;
		}
	}
	close(lines.fd);
	return found;
}

static const char *trouble(const char *before, const char *word, const char *after)
{
	static char sentence[512];
	join(sentence, sizeof sentence, before, word, after, NULL);
	return sentence;
}

const char *user_find(const struct machine *machine, struct user *user)
{
	const struct cmdline *asked = &machine->asked;
	if (!asked->user_count) {
		join(user->name, sizeof user->name, "root", NULL);
		return NULL;
	}
	char *group = asked->user[0], *word = cut(&group, ':');
	bool is_number = to_number(word, &user->uid);
	if (!passwd_find(word, is_number, user) && !is_number)
		return trouble("the command's user ", word, " is not in the image's /etc/passwd");
	if (*group) {
		is_number = to_number(group, &user->gid);
		if (!group_find(group, is_number, user) && !is_number)
			return trouble(
				"the command's group ", group, " is not in the image's /etc/group");
	} else {
		group_find(NULL, false, user);
	}
	for (size_t i = 1; i < asked->user_count; i++) {
		if (!to_number(asked->user[i], &user->groups[user->group_count]))
			return trouble("the command's group ", asked->user[i], " is no number");
		user->group_count++;
	}
	return NULL;
}

const char *user_become(const struct user *user)
{
	if (!user->uid && !user->gid && !user->group_count)
		return NULL;
	/* /dev/stdout and its like are opened anew by their owner's right. */
	for (int fd = 0; fd < 3; fd++) {
		int ignored = fchown(fd, user->uid, (gid_t)-1);
		(void)ignored;
	}
	if (setgroups(user->group_count, user->groups) < 0 ||
		setresgid(user->gid, user->gid, user->gid) < 0 ||
		setresuid(user->uid, user->uid, user->uid) < 0)
		return trouble("the command's user could not be taken: ", why(), "");
	return NULL;
}
