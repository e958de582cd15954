/* SPDX-License-Identifier: Apache-2.0 */
/* Completion for bash, written from the same tables that parse the command line. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static void print_words(const struct command *command)
{
	for (const struct option_spec *o = command->options; o && o->name; o++)
		printf(" --%s", o->name);
	if (!command->no_store)
		printf(" --root");
	if (command->has_json)
		printf(" --json");
	printf(" --help");
}

static void print_values(const struct command *command)
{
	for (const struct option_spec *o = command->options; o && o->name; o++) {
		if (!o->value)
			continue;
		printf("\t%s:--%s) ", command->name, o->name);
		if (strchr(o->value, '|')) {
			printf("COMPREPLY=($(compgen -W '");
			for (const char *c = o->value; *c; c++)
				putchar(*c == '|' ? ' ' : *c);
			printf("' -- \"$cur\"))");
		} else if (strcmp(o->value, "DIR") == 0) {
			printf("COMPREPLY=($(compgen -d -- \"$cur\"))");
		} else if (strcmp(o->value, "FILE") == 0) {
			printf("COMPREPLY=($(compgen -f -- \"$cur\"))");
		} else {
			printf(":");
		}
		printf("; return ;;\n");
	}
}

static int completion_run(struct invocation *inv, struct ramet_error *err)
{
	printf("# bash completion for ramet; written by 'ramet completion'\n"
	       "_ramet() {\n"
	       "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd=${COMP_WORDS[1]}\n"
	       "\tCOMPREPLY=()\n"
	       "\tif [ \"$COMP_CWORD\" = 1 ]; then\n\t\tCOMPREPLY=($(compgen -W '");
	for (size_t i = 0; commands[i]; i++)
		printf("%s%s", i ? " " : "", commands[i]->name);
	printf("' -- \"$cur\")); return\n\tfi\n\tcase $cmd:$prev in\n"
	       "\t*:--root) COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n");
	for (size_t i = 0; commands[i]; i++)
		print_values(commands[i]);
	printf("\tesac\n\tcase $cmd:$cur in\n");
	for (size_t i = 0; commands[i]; i++) {
		printf("\t%s:-*) COMPREPLY=($(compgen -W '", commands[i]->name);
		print_words(commands[i]);
		printf("' -- \"$cur\")) ;;\n");
		if (commands[i]->completes == COMPLETE_FORKS)
			printf("\t%s:*) COMPREPLY=($(compgen -W \"$(ramet ls --names 2>/dev/null)\" -- \"$cur\")) ;;\n",
				commands[i]->name);
	}
	printf("\t*) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n\tesac\n}\n"
	       "complete -o filenames -F _ramet ramet\n");
	return EXIT_OK;
}

const struct command command_completion = {
	.name = "completion",
	.arguments = "",
	.summary = "Print the completion script for bash",
	.example = "ramet completion > /etc/bash_completion.d/ramet",
	.no_store = true,
	.run = completion_run,
};
