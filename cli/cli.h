/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line. One file per command, one line per command in the table of main.c; each
 * command's options are a table too, which drives parsing, help and completion.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <ramet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

enum option_kind {
	OPTION_FLAG,   /* bool */
	OPTION_STRING, /* const char * */
	OPTION_SIZE,   /* uint64_t, bytes: 10G */
	OPTION_COUNT,  /* unsigned, at least 1 */
	OPTION_LIST,   /* struct string_list: may be given many times */
};

struct string_list {
	const char **items;
	size_t count;
};

struct option_spec {
	const char *name;  /* without the dashes */
	const char *value; /* what stands for the value in help: "SIZE"; NULL for a flag. "a|b|c"
			      lists the choices: nothing else is taken, and completion offers them.
			      "FILE" and "DIR" complete to files and folders */
	const char *help;
	enum option_kind kind;
	char letter;   /* "-l" is the same as "--long"; 0: there is no short form */
	size_t offset; /* of the value in the command's own struct */
};
#define OPTION(kind, type, member, name, value, help) \
	{ \
		name, value, help, OPTION_##kind, 0, offsetof(type, member) \
	}
/* A flag that has a letter too. */
#define OPTION_SHORT(kind, type, member, letter, name, value, help) \
	{ \
		name, value, help, OPTION_##kind, letter, offsetof(type, member) \
	}
#define OPTION_END \
	{ \
		0 \
	}

/* What every command is given. */
struct invocation {
	const struct command *command;
	struct ramet_store *store;    /* open, unless the command says no_store */
	const char *root;             /* --root, or NULL */
	bool json;                    /* --json */
	void *options;                /* the command's own struct, zeroed and filled */
	const char *const *arguments; /* the words that are no options, before "--" */
	size_t argument_count;
	const char *const *rest; /* the words after "--", NULL-terminated; NULL without "--" */
};

struct command {
	const char *name;
	const char *arguments; /* "SOURCE IMAGE": for usage */
	const char *summary;   /* one line */
	const char *example;   /* one line, as typed */
	const struct option_spec *options;
	size_t options_size; /* of the command's own struct */
	size_t least, most;  /* how many arguments it takes */
	bool takes_rest;     /* words after "--" are taken */
	bool has_json;
	bool no_store;
	enum { COMPLETE_FILES, COMPLETE_FORKS } completes; /* what its arguments are */
	void (*help)(void); /* print what else --help should show, or NULL */
	int (*run)(struct invocation *invocation, struct ramet_error *err);
};

/*
 * run answers an exit status (0 .. 255) or a negative errno with a sentence in err, which main
 * prints as "ramet COMMAND: SENTENCE." (with --json as {"error": {...}} on standard error) and
 * turns into exit status 1. A wrong use of the command line is cli_usage(): exit status 2.
 */
int cli_usage(const struct invocation *invocation, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Say that memory ran out before the command began: exit status 1. */
int cli_memory(const struct invocation *invocation);

/* Say why something failed, on standard error: "ramet COMMAND: SENTENCE.", or JSON. The sentence's
 * control characters are replaced in err. */
void cli_report(const struct invocation *invocation, struct ramet_error *err);

/* Fill options from argv; answers 0, or an exit status with everything said. */
int options_parse(struct invocation *invocation, int argc, char **argv);
void options_help(const struct command *command);

/* A progress bar on standard error when it is a terminal and --json was not given; otherwise
 * nothing. Hand both to an operation, and call cli_progress_end() after it. */
struct cli_progress {
	bool shown;
};
ramet_progress_fn cli_progress_start(
	struct cli_progress *progress, const struct invocation *invocation);
void cli_progress_end(struct cli_progress *progress);

/* The formats that --format takes, and the one to write: what was given, or what image's name (NULL:
 * none) ends in, or squashfs. Static, or given. */
#define CLI_FORMATS "squashfs|erofs|ext4"
const char *cli_format_choose(const char *given, const char *image);

extern const struct command *const commands[]; /* ended by NULL */
extern const struct command command_attach, command_build, command_cat, command_commit,
	command_completion, command_config, command_detach, command_diff, command_doctor,
	command_fork, command_help, command_inspect, command_ls, command_materialize,
	command_prepare, command_rm, command_run, command_show, command_verify;

#endif
