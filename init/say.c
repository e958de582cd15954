/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host reads on the console (forms in names.h), and the end of the VM. A line goes out in
 * one write, so that the kernel's own messages do not come into it. Nothing is said about the end
 * before the volume is closed: a host that reads the line may take the volume at once.
 *
 * The VM ends by reboot, not by power-off: Firecracker ends when its guest resets, and QEMU is run
 * with -no-reboot. Power-off is tried where a reset does nothing.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

#include "init/machine.h"

#define LINE_SIZE 1024

static void append(char *buffer, size_t size, const char *text)
{
	size_t used = strlen(buffer);
	size_t length = strnlen(text, size - used - 1);
	memcpy(buffer + used, text, length);
	buffer[used + length] = '\0';
}

static void append_all(char *buffer, size_t size, const char *first, va_list rest)
{
	for (const char *text = first; text; text = va_arg(rest, const char *))
		append(buffer, size, text);
}

void join(char *buffer, size_t size, const char *first, ...)
{
	va_list rest;
	buffer[0] = '\0';
	va_start(rest, first);
	append_all(buffer, size, first, rest);
	va_end(rest);
}

const char *why(void)
{
	return strerror(errno);
}

const char *number(uint64_t value, char buffer[static 21])
{
	char *p = buffer + 20;
	*p = '\0';
	do
		*--p = (char)('0' + value % 10);
	while (value /= 10);
	return p;
}

uint64_t microseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void put(const struct machine *machine, const char *line)
{
	size_t length = strlen(line);
	while (length > 0) {
		ssize_t n = write(machine->console, line, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		line += n;
		length -= (size_t)n;
	}
}

void say(const struct machine *machine, const char *first, ...)
{
	char line[LINE_SIZE] = INIT_LINE_NOTE;
	va_list rest;
	va_start(rest, first);
	append_all(line, sizeof line - 1, first, rest);
	va_end(rest);
	append(line, sizeof line, "\n");
	put(machine, line);
}

void say_step(const struct machine *machine, const char *step)
{
	char buffer[21];
	if (machine->asked.verbose)
		say(machine, number(microseconds(), buffer), " us: ", step, NULL);
}

void say_ready(const struct machine *machine)
{
	char line[LINE_SIZE];
	if (!machine->asked.nonce)
		return;
	join(line, sizeof line, "\n" INIT_LINE_READY, machine->asked.nonce, ":\n", NULL);
	put(machine, line);
}

static _Noreturn void end(const struct machine *machine, const char *line)
{
	put(machine, line);
	/* Wait until the console has sent it (what tcdrain does). */
	ioctl(machine->console, TCSBRK, 1);
	sync();
	reboot(RB_AUTOBOOT);
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

void fail_with(struct machine *machine, const char *sentence)
{
	char line[LINE_SIZE];
	const char *nonce = machine->asked.nonce;
	disks_close(machine);
	join(line, sizeof line, nonce ? "\n" INIT_LINE_FAIL : INIT_LINE_NOTE, nonce ? nonce : "",
		nonce ? ":" : "", NULL);
	size_t head = strlen(line);
	append(line, sizeof line - 1, sentence);
	/* Names from outside are in it: it stays one line. */
	for (char *p = line + head; *p; p++) {
		if ((unsigned char)*p < ' ')
			*p = '?';
	}
	append(line, sizeof line, "\n");
	end(machine, line);
}

void fail(struct machine *machine, const char *first, ...)
{
	char sentence[LINE_SIZE] = "";
	va_list rest;
	va_start(rest, first);
	append_all(sentence, sizeof sentence, first, rest);
	va_end(rest);
	fail_with(machine, sentence);
}

void finish(struct machine *machine, int status)
{
	char line[LINE_SIZE], buffer[21];
	const char *text = number((uint64_t)status, buffer);
	if (!disks_close(machine))
		fail(machine,
			"what the guest wrote could not all be stored: the volume or its host "
			"is full or damaged",
			NULL);
	if (machine->asked.nonce)
		join(line, sizeof line, "\n" INIT_LINE_EXIT, machine->asked.nonce, ":", text, "\n",
			NULL);
	else
		join(line, sizeof line, INIT_LINE_NOTE "the command ended with status ", text, "\n",
			NULL);
	end(machine, line);
}
