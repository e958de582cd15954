/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel cuts a line that is too long without a word (COMMAND_LINE_SIZE is 2048 on x86), and
 * the last argument, perhaps half of the user's command, would be lost: so it is counted here,
 * with what the VMM adds by itself. A command that does not fit goes into the initramfs.
 *
 * Messages: "quiet" leaves warnings on; loglevel=2 leaves panics and what is as bad.
 */
#include "vmm/arguments.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "init/names.h"

static void add_encoded(struct text *line, const char *item, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)item[i];
		if (init_byte_is_plain(c))
			text_append_bytes(line, &c, 1);
		else
			text_format(line, "%%%02X", c);
	}
}

static void add_list(struct text *line, const char *name, const char *const *items)
{
	for (size_t i = 0; items && items[i]; i++) {
		text_append(line, i ? "," : " ");
		text_append(line, i ? "" : name);
		text_append(line, i ? "" : "=");
		add_encoded(line, items[i], strlen(items[i]));
	}
}

static void add_command(struct text *line, const struct guest_arguments *arguments)
{
	const char *const cwd[] = {arguments->cwd, NULL};
	if (!arguments->argv)
		return;
	add_list(line, INIT_ARG_EXEC, arguments->argv);
	add_list(line, INIT_ARG_CWD, cwd);
	add_list(line, INIT_ARG_USER, arguments->user);
	add_list(line, INIT_ARG_ENV, arguments->env);
}

static void add_read_only(struct text *line, const char *paths)
{
	const char *before = " " INIT_ARG_RO "=";
	while (paths && *paths) {
		size_t length = strcspn(paths, "\n");
		if (length) {
			text_append(line, before);
			add_encoded(line, paths, length);
			before = ",";
		}
		paths += length + (paths[length] == '\n');
	}
}

static bool is_plain(const char *word)
{
	for (; *word; word++)
		if (!init_byte_is_plain((unsigned char)*word))
			return false;
	return true;
}

static void add_person(struct text *line, const struct guest_arguments *arguments)
{
	if (!arguments->rows || !arguments->columns)
		return;
	text_format(line, " " INIT_ARG_TTY "=%ux%u", arguments->rows, arguments->columns);
	if (arguments->term && *arguments->term && is_plain(arguments->term))
		text_format(line, " TERM=%s", arguments->term);
}

/* The images are the first drives, from the bottom up. The init takes a single vda for granted. */
static void add_layers(struct text *line, const struct guest_arguments *arguments, size_t images)
{
	char name[VM_DRIVE_NAME_SIZE];
	vm_drive_device(arguments->drives, 0, name);
	if (images == 1 && strcmp(name, "vda") == 0)
		return;
	for (size_t i = 0; i < images; i++) {
		vm_drive_device(arguments->drives, i, name);
		text_format(line, "%s%s", i ? "," : " " INIT_ARG_LAYERS "=", name);
	}
}

/* The volume is the drive after the images. */
static void add_overlay(struct text *line, const struct guest_arguments *arguments)
{
	char name[VM_DRIVE_NAME_SIZE] = "ram";
	size_t images = MAX(arguments->images, 1U);
	add_layers(line, arguments, images);
	if (!arguments->ram)
		vm_drive_device(arguments->drives, images, name);
	text_format(line, " ro " INIT_ARG_OVERLAY_ROOT "=%s", name);
}

static void add_clone(struct text *line, const struct guest_arguments *arguments)
{
	add_layers(line, arguments, 1);
	text_append(line, " rw " INIT_ARG_MODE "=clone");
}

/* Where the root is and who makes it. */
static void add_root(struct text *line, const struct guest_arguments *arguments)
{
	char name[VM_DRIVE_NAME_SIZE];
	(arguments->clone ? add_clone : add_overlay)(line, arguments);
	if (!arguments->in_image_init)
		return;
	if (arguments->initramfs) {
		text_append(line, " " INIT_ARG_HANDOVER "=" INIT_IN_IMAGE_PATH);
		return;
	}
	vm_drive_device(arguments->drives, 0, name);
	if (!arguments->vmm->says_root)
		text_format(line, " root=/dev/%s", name);
	text_append(line, " init=" INIT_IN_IMAGE_PATH);
}

static int check_append(const char *append, struct ramet_error *err)
{
	for (const char *c = append; c && *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			return error_set(err, EINVAL,
				"the kernel arguments to append have a control character in them");
	return 0;
}

/* Everything but the command and what the user adds. */
static void add_machine(struct text *line, const struct guest_arguments *arguments)
{
	const struct vmm *vmm = arguments->vmm;
	char tuned[128] = "";
	if (vmm->tune)
		vmm->tune(arguments->kvm, tuned, sizeof tuned);
	text_format(line, "console=ttyS0 %s%s%s", vmm->arguments, tuned,
		arguments->verbose ? " " INIT_ARG_VERBOSE "=1" : " quiet loglevel=2");
	add_root(line, arguments);
	if (arguments->nonce)
		text_format(line, " " INIT_ARG_NONCE "=%s", arguments->nonce);
	if (arguments->hostname)
		text_format(line, " " INIT_ARG_HOSTNAME "=%s", arguments->hostname);
	add_person(line, arguments);
	add_read_only(line, arguments->read_only_paths);
}

static int refuse_length(size_t length, size_t most, const char *what, struct ramet_error *err)
{
	return error_set(err, E2BIG,
		"the %s would be %zu bytes long and can be %zu; put a long command into a script "
		"in the image",
		what, length, most);
}

/* How long the line may be: the VMM adds some itself, for each drive too. */
static size_t room_for(const struct guest_arguments *arguments)
{
	const struct vmm *vmm = arguments->vmm;
	size_t drives = MAX(arguments->images, 1U) + (arguments->clone || arguments->ram ? 0 : 1);
	return INIT_MAX_CMDLINE - 1 - vmm->reserve - drives * vmm->drive_reserve;
}

int guest_arguments_write(const struct guest_arguments *arguments, struct text *line,
	struct text *more, struct ramet_error *err)
{
	_cleanup_text_ struct text command = {0};
	const size_t most = room_for(arguments);
	const char *append = arguments->append && *arguments->append ? arguments->append : NULL;
	int r = check_append(append, err);
	if (r < 0)
		return r;
	add_machine(line, arguments);
	add_command(&command, arguments);
	size_t rest = append ? strlen(append) + 1 : 0;
	bool apart = more && line->length + command.length + rest > most;
	text_append_bytes(apart ? more : line, command.length ? command.data : "", command.length);
	if (append)
		text_format(line, " %s", append);
	if (line->failed || command.failed || (apart && more->failed))
		return error_memory(err);
	if (apart && more->length > INIT_MAX_ARGUMENTS)
		return refuse_length(more->length, INIT_MAX_ARGUMENTS, "guest's command", err);
	return line->length > most ? refuse_length(line->length, most, "kernel's command line", err)
				   : 0;
}
