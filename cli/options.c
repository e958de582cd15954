/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"

static const struct option_spec *spec_find(
	const struct command *command, const char *name, size_t length)
{
	for (const struct option_spec *o = command->options; o && o->name; o++)
		if (strlen(o->name) == length && strncmp(o->name, name, length) == 0)
			return o;
	return NULL;
}

static bool is_choice(const char *choices, const char *value)
{
	size_t length = strlen(value);
	for (const char *c = choices;; c++) {
		const char *end = strchrnul(c, '|');
		if ((size_t)(end - c) == length && memcmp(c, value, length) == 0)
			return true;
		if (!*end)
			return false;
		c = end;
	}
}

static int store_list(struct string_list *list, const char *value)
{
	const char **grown = reallocarray(list->items, list->count + 1, sizeof *grown);
	if (!grown)
		return -ENOMEM;
	list->items = grown;
	grown[list->count++] = value;
	return 0;
}

/* Answers 0 or an exit status. */
static int store_value(struct invocation *inv, const struct option_spec *spec, const char *value)
{
	void *place = (char *)inv->options + spec->offset;
	uint64_t number;
	int r = 0;
	switch (spec->kind) {
	case OPTION_FLAG:
		*(bool *)place = true;
		break;
	case OPTION_STRING:
		if (strchr(spec->value, '|') && !is_choice(spec->value, value))
			return cli_usage(
				inv, "--%s takes %s, not '%s'", spec->name, spec->value, value);
		*(const char **)place = value;
		break;
	case OPTION_SIZE:
		r = text_parse_size(value, place);
		if (r == -ERANGE)
			return cli_usage(
				inv, "--%s %s is more than any disk holds", spec->name, value);
		if (r < 0)
			return cli_usage(inv, "--%s takes a size such as 512M or 10G, not '%s'",
				spec->name, value);
		if (*(uint64_t *)place == 0)
			return cli_usage(inv, "--%s is 0: a size must be larger", spec->name);
		break;
	case OPTION_COUNT:
		if (text_parse_uint(value, 1000000, &number) < 0 || number == 0)
			return cli_usage(inv, "--%s takes a number from 1 to 1000000, not '%s'",
				spec->name, value);
		*(unsigned *)place = (unsigned)number;
		break;
	case OPTION_LIST:
		if (store_list(place, value) < 0)
			return cli_memory(inv);
		break;
	}
	return 0;
}

static const struct option_spec *spec_of_letter(const struct command *command, char letter)
{
	for (const struct option_spec *o = command->options; o && o->name; o++)
		if (o->letter && o->letter == letter)
			return o;
	return NULL;
}

/* "-lR": each letter is a flag. Answers 0 or an exit status. */
static int parse_letters(struct invocation *inv, const char *word)
{
	for (const char *letter = word + 1; *letter; letter++) {
		const struct option_spec *spec = spec_of_letter(inv->command, *letter);
		if (!spec)
			return cli_usage(inv, "there is no option %s", word);
		int r = store_value(inv, spec, NULL);
		if (r)
			return r;
	}
	return 0;
}

static bool is_word(const char *name, size_t length, const char *word)
{
	return strlen(word) == length && memcmp(name, word, length) == 0;
}

/* One "--name" or "--name=value"; *next is the word after it, taken when it is the value.
 * Answers 0, an exit status, or -1 when help was shown. */
static int parse_option(struct invocation *inv, const char *word, char ***next)
{
	const char *name = word + 2;
	const char *equals = strchr(name, '=');
	size_t length = equals ? (size_t)(equals - name) : strlen(name);
	bool is_help = is_word(name, length, "help");
	bool is_json = is_word(name, length, "json") && inv->command->has_json;
	bool is_root = is_word(name, length, "root") && !inv->command->no_store;
	if ((is_help || is_json) && equals)
		return cli_usage(inv, "--%.*s takes no value", (int)length, name);
	if (is_help) {
		options_help(inv->command);
		return -1;
	}
	if (is_json) {
		inv->json = true;
		return 0;
	}
	const struct option_spec *spec = is_root ? NULL : spec_find(inv->command, name, length);
	if (!spec && !is_root)
		return cli_usage(inv, "there is no option --%.*s", (int)length, name);
	if (spec && spec->kind == OPTION_FLAG)
		return equals ? cli_usage(inv, "--%s takes no value", spec->name)
			      : store_value(inv, spec, NULL);
	const char *value = equals ? equals + 1 : **next ? *(*next)++ : NULL;
	if (!value)
		return cli_usage(inv, "--%.*s needs a value", (int)length, name);
	if (is_root) {
		inv->root = value;
		return 0;
	}
	return store_value(inv, spec, value);
}

int options_parse(struct invocation *inv, int argc, char **argv)
{
	const char **arguments = calloc((size_t)argc + 1, sizeof *arguments);
	if (!arguments)
		return cli_memory(inv);
	inv->arguments = arguments;
	for (char **next = argv; *next;) {
		const char *word = *next++;
		if (strcmp(word, "--") == 0) {
			inv->rest = (const char *const *)next;
			break;
		}
		if (strcmp(word, "-h") == 0)
			word = "--help";
		if (word[0] == '-' && word[1] && word[1] != '-') {
			int r = parse_letters(inv, word);
			if (r)
				return r;
			continue;
		}
		if (word[0] != '-' || !word[1]) {
			arguments[inv->argument_count++] = word;
			continue;
		}
		int r = parse_option(inv, word, &next);
		if (r != 0)
			return r;
	}
	const struct command *c = inv->command;
	if (inv->argument_count < c->least)
		return cli_usage(inv, "it needs %s", c->arguments);
	if (inv->argument_count > c->most)
		return cli_usage(inv, "'%s' is one word too many", arguments[c->most]);
	if (inv->rest && !c->takes_rest)
		return cli_usage(inv, "it takes nothing after '--'");
	return 0;
}

static void help_line(char letter, const char *name, const char *value, const char *help)
{
	char left[128], in_short[8] = "";
	if (letter)
		snprintf(in_short, sizeof in_short, ", -%c", letter);
	snprintf(left, sizeof left, "--%s%s%s%s", name, in_short, value ? " " : "",
		value ? value : "");
	if (strlen(left) <= 24)
		printf("  %-24s  %s\n", left, help);
	else
		printf("  %s\n  %-24s  %s\n", left, "", help);
}

void options_help(const struct command *command)
{
	printf("%s\n\nUsage: ramet %s%s%s%s\n\nOptions:\n", command->summary, command->name,
		command->options && command->options->name ? " [OPTION]..." : "",
		command->arguments && *command->arguments ? " " : "",
		command->arguments ? command->arguments : "");
	for (const struct option_spec *o = command->options; o && o->name; o++)
		help_line(o->letter, o->name, o->value, o->help);
	if (!command->no_store)
		help_line(0, "root", "DIR",
			"the store's folder (default: $RAMET_ROOT, then the usual place)");
	if (command->has_json)
		help_line(0, "json", NULL, "answer in JSON, errors too");
	help_line(0, "help", NULL, "show this");
	if (command->help)
		command->help();
	if (command->example)
		printf("\nExample: %s\n", command->example);
	printf("\nMore: man ramet-%s\n", command->name);
}
