/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "cli/cli.h"

/* A child that aborts is its parent's to report. */
static pid_t main_process;

const struct command *const commands[] = {
#define COMMAND(name) &command_##name,
#include "cli/commands.def"
#undef COMMAND
	NULL,
};

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; commands[i]; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

int cli_usage(const struct invocation *invocation, const char *format, ...)
{
	const char *name = invocation->command->name;
	char sentence[2048] = "";
	va_list args;
	va_start(args, format);
	vsnprintf(sentence, sizeof sentence, format, args);
	va_end(args);
	fprintf(stderr, "ramet %s: %s; 'ramet %s --help' shows how it is used.\n", name,
		text_disarm(sentence), name);
	return EXIT_USAGE;
}

int cli_memory(const struct invocation *invocation)
{
	fprintf(stderr, "ramet %s: there is not enough memory.\n", invocation->command->name);
	return EXIT_FAILED;
}

void cli_report(const struct invocation *invocation, struct ramet_error *err)
{
	/* Names that a guest or an archive wrote stand in sentences. */
	text_disarm(err->message);
	if (!invocation->json) {
		/* What others said is quoted at the end, and may have its full stop. */
		size_t length = strlen(err->message);
		const char *stop = length && strchr(".?!", err->message[length - 1]) ? "" : ".";
		fprintf(stderr, "ramet %s: %s%s\n", invocation->command->name, err->message, stop);
		return;
	}
	/* A file's name need not be UTF-8, JSON must be: what is not is left to the replacement. */
	json_t *message = json_string(err->message);
	if (!message)
		message = json_string("an object whose name is not UTF-8 made the command fail; "
				      "run it without --json to see it");
	json_t *object = json_pack("{s:{s:s, s:s, s:o}}", "error", "command",
		invocation->command->name, "code",
		strerrorname_np(err->code) ? strerrorname_np(err->code) : "EIO", "message",
		message);
	if (object) {
		json_dumpf(object, stderr, JSON_COMPACT);
		fputc('\n', stderr);
		json_decref(object);
	}
}

static int run_command(const struct command *command, int argc, char **argv)
{
	struct invocation invocation = {.command = command};
	struct ramet_error err = {0};
	invocation.options = calloc(1, command->options_size ? command->options_size : 1);
	if (!invocation.options)
		return cli_memory(&invocation);
	int status = options_parse(&invocation, argc, argv);
	if (status == 0) {
		int r = 0;
		if (!command->no_store)
			r = ramet_store_open(invocation.root, &invocation.store, &err);
		if (r == 0)
			r = command->run(&invocation, &err);
		ramet_store_close(invocation.store);
		/* Output that could not be written is a failure like any other. */
		if (r >= 0 && (fflush(stdout) != 0 || ferror(stdout)))
			r = error_errno(&err, errno, "cannot write to standard output");
		if (r < 0)
			cli_report(&invocation, &err);
		status = r < 0 ? EXIT_FAILED : r;
	} else if (status < 0) {
		status = EXIT_OK; /* --help was asked for and shown */
	}
	for (const struct option_spec *o = command->options; o && o->name; o++)
		if (o->kind == OPTION_LIST)
			free(((struct string_list *)((char *)invocation.options + o->offset))
					->items);
	free((void *)invocation.arguments);
	free(invocation.options);
	return status;
}

/* libext2fs calls abort() where its bitmaps get no memory. That too is one sentence; what was begun
 * has no name yet, or is rolled back by whoever opens the store next. */
static void on_abort(int number)
{
	static const char sentence[] = "ramet: a library gave up, most likely for want of memory; "
				       "nothing half made is left behind.\n";
	if (getpid() == main_process) {
		write_full(STDERR_FILENO, sentence, sizeof sentence - 1);
		_exit(EXIT_FAILED);
	}
}

/* One sentence, then the end that the shell expects of an interrupted program. `run` waits for these
 * signals itself. */
static void on_interrupt(int number)
{
	static const char sentence[] = "ramet: interrupted; nothing half made is left behind.\n";
	if (getpid() == main_process)
		write_full(STDERR_FILENO, sentence, sizeof sentence - 1);
	signal(number, SIG_DFL);
	raise(number);
}

static void handle_signals(void)
{
	static const int interrupts[] = {SIGINT, SIGTERM, SIGHUP};
	main_process = getpid();
	signal(SIGABRT, on_abort);
	for (size_t i = 0; i < sizeof interrupts / sizeof *interrupts; i++)
		/* What whoever started us has us ignore (nohup) stays ignored. */
		if (signal(interrupts[i], on_interrupt) == SIG_IGN)
			signal(interrupts[i], SIG_IGN);
}

int main(int argc, char **argv)
{
	handle_signals();
	const char *name = argc > 1 ? argv[1] : "help";
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		name = "help";
	if (strcmp(name, "--version") == 0) {
		printf("ramet %s\n", ramet_version());
		return fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
	}
	const struct command *command = command_find(name);
	if (!command) {
		fprintf(stderr,
			*name == '-'
				? "ramet: options stand behind the command: 'ramet COMMAND %s'; "
				  "'ramet help' lists the commands.\n"
				: "ramet: there is no command '%s'; 'ramet help' lists them.\n",
			text_disarm(argv[1]));
		return EXIT_USAGE;
	}
	int status = run_command(command, argc > 1 ? argc - 2 : 0, argv + (argc > 1 ? 2 : 1));
	return argc > 1 ? status : EXIT_USAGE;
}
