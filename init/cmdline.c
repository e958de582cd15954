/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel command line, split as the kernel splits it (next_arg() in its lib/cmdline.c: words
 * end at white space, a double quote protects it, quotes around a word or a value are dropped, and
 * "--" ends the kernel's own arguments). Names and lists are described in names.h. The whole line
 * is read even after an error, because the nonce may come last.
 */
#include "init/cmdline.h"

#include <string.h>

struct argument {
	const char *name;
	bool (*take)(struct cmdline *cmdline, char *value);
};

/* The first error is kept; says false, so that a caller can return it. */
static bool refuse(struct cmdline *cmdline, const char *what, const char *value, const char *why)
{
	const char *parts[] = {
		"the kernel argument ", what, value ? "=" : "", value ? value : "", " ", why};
	if (cmdline->error[0])
		return false;
	size_t used = 0;
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		for (const char *p = parts[i]; *p && used < sizeof cmdline->error - 1; p++)
			cmdline->error[used++] = (*p >= ' ' && *p < 127) ? *p : '?';
	}
	cmdline->error[used] = '\0';
	return false;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Undo %XX in place. */
static bool item_decode(char *item)
{
	char *to = item;
	for (const char *from = item; *from; from++) {
		if (*from != '%') {
			*to++ = *from;
			continue;
		}
		int high = hex_digit(from[1]);
		int low = high < 0 ? -1 : hex_digit(from[2]);
		if (low < 0 || (high == 0 && low == 0))
			return false;
		*to++ = (char)(high << 4 | low);
		from += 2;
	}
	*to = '\0';
	return true;
}

/* Split at commas and decode each item. The count, or max + 1 when there are more than max, or 0
 * when an item is not well encoded. */
static size_t list_decode(char *value, char **items, size_t max)
{
	size_t count = 0;
	for (char *item = value; item;) {
		char *comma = strchr(item, ',');
		if (comma)
			*comma = '\0';
		if (count == max)
			return max + 1;
		if (!item_decode(item))
			return 0;
		items[count++] = item;
		item = comma ? comma + 1 : NULL;
	}
	return count;
}

/* A device's name with or without /dev/ before it; NULL when it is none. */
static const char *device_name(const char *value)
{
	if (strncmp(value, "/dev/", 5) == 0)
		value += 5;
	for (const char *p = value; *p; p++) {
		if (*p == '.' || *p == '/' || !init_byte_is_plain((unsigned char)*p))
			return NULL;
	}
	return *value ? value : NULL;
}

static bool take_overlay_root(struct cmdline *cmdline, char *value)
{
	cmdline->volume = NULL;
	if (!*value || strcmp(value, "ram") == 0)
		return true;
	cmdline->volume = device_name(value);
	return cmdline->volume || refuse(cmdline, INIT_ARG_OVERLAY_ROOT, value, "names no device");
}

static bool take_mode(struct cmdline *cmdline, char *value)
{
	cmdline->clone = strcmp(value, "clone") == 0;
	return cmdline->clone || strcmp(value, "overlay") == 0 ||
	       refuse(cmdline, INIT_ARG_MODE, value, "is neither overlay nor clone");
}

static bool take_layers(struct cmdline *cmdline, char *value)
{
	char *items[INIT_MAX_LAYERS];
	size_t count = list_decode(value, items, INIT_MAX_LAYERS);
	if (count > INIT_MAX_LAYERS)
		return refuse(cmdline, INIT_ARG_LAYERS, NULL, "has more than 128 devices");
	for (size_t i = 0; i < count; i++) {
		cmdline->layers[i] = device_name(items[i]);
		if (!cmdline->layers[i])
			return refuse(cmdline, INIT_ARG_LAYERS, items[i], "names no device");
	}
	cmdline->layer_count = count;
	return count > 0 || refuse(cmdline, INIT_ARG_LAYERS, NULL, "names no device");
}

static bool take_exec(struct cmdline *cmdline, char *value)
{
	size_t count = list_decode(value, cmdline->exec, CMDLINE_MAX_ARGUMENTS);
	if (count > CMDLINE_MAX_ARGUMENTS)
		return refuse(cmdline, INIT_ARG_EXEC, NULL, "has more than 512 items");
	if (count == 0)
		return refuse(cmdline, INIT_ARG_EXEC, NULL, "is not a well encoded list");
	if (!*cmdline->exec[0])
		return refuse(cmdline, INIT_ARG_EXEC, NULL, "names no command");
	cmdline->exec[count] = NULL;
	cmdline->exec_count = count;
	return true;
}

static bool take_env(struct cmdline *cmdline, char *value)
{
	size_t count = list_decode(value, cmdline->env, CMDLINE_MAX_ENV);
	if (count > CMDLINE_MAX_ENV)
		return refuse(cmdline, INIT_ARG_ENV, NULL, "has more than 1024 items");
	if (count == 0)
		return refuse(cmdline, INIT_ARG_ENV, NULL, "is not a well encoded list");
	for (size_t i = 0; i < count; i++) {
		const char *equals = strchr(cmdline->env[i], '=');
		if (!equals || equals == cmdline->env[i])
			return refuse(cmdline, INIT_ARG_ENV, cmdline->env[i], "is not NAME=VALUE");
	}
	cmdline->env_count = count;
	return true;
}

static bool take_user(struct cmdline *cmdline, char *value)
{
	size_t count = list_decode(value, cmdline->user, CMDLINE_MAX_GROUPS + 1);
	if (count > CMDLINE_MAX_GROUPS + 1)
		return refuse(cmdline, INIT_ARG_USER, NULL, "has more than 64 further groups");
	if (count == 0 || !*cmdline->user[0] || *cmdline->user[0] == ':')
		return refuse(cmdline, INIT_ARG_USER, NULL, "names no user");
	cmdline->user_count = count;
	return true;
}

static bool take_path(struct cmdline *cmdline, const char *name, char *value, const char **path)
{
	*path = value;
	return (*value == '/' && item_decode(value)) ||
	       refuse(cmdline, name, value, "is not a well encoded absolute path");
}

static bool take_cwd(struct cmdline *cmdline, char *value)
{
	return take_path(cmdline, INIT_ARG_CWD, value, &cmdline->cwd);
}

static bool take_init(struct cmdline *cmdline, char *value)
{
	return take_path(cmdline, INIT_ARG_INIT, value, &cmdline->init);
}

static bool take_handover(struct cmdline *cmdline, char *value)
{
	return take_path(cmdline, INIT_ARG_HANDOVER, value, &cmdline->handover);
}

static bool take_ro(struct cmdline *cmdline, char *value)
{
	size_t count = list_decode(value, cmdline->ro, CMDLINE_MAX_RO);
	if (count > CMDLINE_MAX_RO)
		return refuse(cmdline, INIT_ARG_RO, NULL, "has more than 64 paths");
	if (count == 0)
		return refuse(cmdline, INIT_ARG_RO, NULL, "is not a well encoded list");
	for (size_t i = 0; i < count; i++) {
		if (cmdline->ro[i][0] != '/')
			return refuse(
				cmdline, INIT_ARG_RO, cmdline->ro[i], "is not an absolute path");
	}
	cmdline->ro_count = count;
	return true;
}

static bool is_word(const char *value, size_t max, const char *besides)
{
	size_t n = 0;
	for (; value[n]; n++) {
		unsigned char c = (unsigned char)value[n];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (!letter && !(c >= '0' && c <= '9') && !strchr(besides, c))
			return false;
	}
	return n > 0 && n <= max;
}

static bool take_nonce(struct cmdline *cmdline, char *value)
{
	cmdline->nonce = is_word(value, 64, "") ? value : NULL;
	return cmdline->nonce ||
	       refuse(cmdline, INIT_ARG_NONCE, value, "is not 1 to 64 letters and digits");
}

static bool take_hostname(struct cmdline *cmdline, char *value)
{
	cmdline->hostname = value;
	return is_word(value, 64, ".-_") ||
	       refuse(cmdline, INIT_ARG_HOSTNAME, value, "is no host name");
}

static bool take_verbose(struct cmdline *cmdline, char *value)
{
	cmdline->verbose = strcmp(value, "1") == 0;
	return cmdline->verbose || strcmp(value, "0") == 0 ||
	       refuse(cmdline, INIT_ARG_VERBOSE, value, "is neither 0 nor 1");
}

/* A number from 1 to 9999, and where it ends. */
static const char *take_number(const char *p, unsigned short *number)
{
	unsigned n = 0;
	const char *start = p;
	for (; *p >= '0' && *p <= '9' && p - start < 4; p++)
		n = n * 10 + (unsigned)(*p - '0');
	*number = (unsigned short)n;
	return n ? p : NULL;
}

static bool take_tty(struct cmdline *cmdline, char *value)
{
	const char *p = take_number(value, &cmdline->rows);
	if (p && *p == 'x')
		p = take_number(p + 1, &cmdline->columns);
	else
		p = NULL;
	cmdline->tty = p && !*p;
	return cmdline->tty || refuse(cmdline, INIT_ARG_TTY, value, "is not ROWSxCOLUMNS");
}

static const struct argument arguments[] = {{INIT_ARG_OVERLAY_ROOT, take_overlay_root},
	{INIT_ARG_MODE, take_mode}, {INIT_ARG_LAYERS, take_layers}, {INIT_ARG_EXEC, take_exec},
	{INIT_ARG_CWD, take_cwd}, {INIT_ARG_ENV, take_env}, {INIT_ARG_USER, take_user},
	{INIT_ARG_RO, take_ro}, {INIT_ARG_NONCE, take_nonce}, {INIT_ARG_TTY, take_tty},
	{INIT_ARG_HOSTNAME, take_hostname}, {INIT_ARG_INIT, take_init},
	{INIT_ARG_HANDOVER, take_handover}, {INIT_ARG_VERBOSE, take_verbose}};

/* The kernel's isspace(), which takes the no-break space of Latin-1 for one too. */
static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || (unsigned char)c == 0xa0;
}

/* Cut the first word off: *name and *value (NULL without "="); what follows is returned. */
static char *next_word(char *text, char **name, char **value)
{
	while (is_space(*text))
		text++;
	bool quoted = *text == '"', in_quotes = quoted;
	if (quoted)
		text++;
	*name = text;
	char *equals = NULL, *end = text;
	for (; *end && (in_quotes || !is_space(*end)); end++) {
		if (*end == '=' && !equals && end > text)
			equals = end;
		if (*end == '"')
			in_quotes = !in_quotes;
	}
	char *rest = *end ? end + 1 : end;
	*end = '\0';
	*value = NULL;
	if (equals) {
		*equals = '\0';
		*value = equals + 1;
		if (**value == '"') {
			++*value;
			quoted = true;
		}
	}
	if (quoted && end > (*value ? *value : text) && end[-1] == '"')
		end[-1] = '\0';
	return rest;
}

static void take_word(struct cmdline *cmdline, const char *name, char *value)
{
	if (!value && (strcmp(name, "ro") == 0 || strcmp(name, "rw") == 0)) {
		cmdline->read_only = name[1] == 'o';
		return;
	}
	for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++) {
		if (strcmp(name, arguments[i].name) != 0)
			continue;
		if (value)
			arguments[i].take(cmdline, value);
		else
			refuse(cmdline, name, NULL, "needs a value");
		return;
	}
	if (strncmp(name, "ramet.", 6) == 0)
		refuse(cmdline, name, NULL, "is not known to this init");
}

static void take_words(struct cmdline *cmdline, char *text)
{
	while (*text) {
		char *name, *value;
		text = next_word(text, &name, &value);
		if (strcmp(name, "--") == 0 && !value)
			break;
		take_word(cmdline, name, value);
	}
}

bool cmdline_parse(struct cmdline *cmdline, char *text)
{
	return cmdline_parse_both(cmdline, NULL, text);
}

bool cmdline_parse_both(struct cmdline *cmdline, char *before, char *text)
{
	memset(cmdline, 0, sizeof *cmdline);
	cmdline->layers[0] = "vda";
	cmdline->layer_count = 1;
	if (before)
		take_words(cmdline, before);
	take_words(cmdline, text);
	if (cmdline->clone && cmdline->layer_count > 1)
		refuse(cmdline, INIT_ARG_MODE, "clone",
			"goes with a single device in " INIT_ARG_LAYERS);
	if (cmdline->clone && cmdline->volume)
		refuse(cmdline, INIT_ARG_MODE, "clone", "goes without " INIT_ARG_OVERLAY_ROOT);
	return !cmdline->error[0];
}
