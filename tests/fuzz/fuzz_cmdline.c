/* SPDX-License-Identifier: Apache-2.0 */
/* The init's kernel command line, from any bytes: what it answers lies within the line, and a
 * command that it found is found again after it was encoded. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "init/cmdline.h"

static char line[2 * INIT_MAX_CMDLINE + 1], again[8 * INIT_MAX_CMDLINE];

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void inside(const char *string)
{
	must(!string || (string >= line && string + strlen(string) < line + sizeof line));
}

static void encode(const struct cmdline *cmdline)
{
	static const char digits[] = "0123456789abcdef";
	char *to = again + strlen(strcpy(again, INIT_ARG_EXEC "="));
	for (size_t i = 0; i < cmdline->exec_count; i++) {
		if (i > 0)
			*to++ = ',';
		for (const unsigned char *c = (const unsigned char *)cmdline->exec[i]; *c; c++) {
			if (init_byte_is_plain(*c)) {
				*to++ = (char)*c;
				continue;
			}
			*to++ = '%';
			*to++ = digits[*c >> 4];
			*to++ = digits[*c & 15];
		}
	}
	*to = '\0';
}

static void check(const struct cmdline *cmdline)
{
	must(cmdline->layer_count >= 1 && cmdline->layer_count <= INIT_MAX_LAYERS);
	for (size_t i = 0; i < cmdline->layer_count; i++)
		must(*cmdline->layers[i] && !strchr(cmdline->layers[i], '/'));
	for (size_t i = 0; i < cmdline->ro_count; i++) {
		inside(cmdline->ro[i]);
		must(cmdline->ro[i][0] == '/');
	}
	for (size_t i = 0; i < cmdline->env_count; i++) {
		inside(cmdline->env[i]);
		must(strchr(cmdline->env[i], '=') > cmdline->env[i]);
	}
	for (size_t i = 0; i < cmdline->user_count; i++)
		inside(cmdline->user[i]);
	must(!cmdline->user_count || *cmdline->user[0]);
	for (size_t i = 0; i < cmdline->exec_count; i++)
		inside(cmdline->exec[i]);
	must(!cmdline->exec[cmdline->exec_count]);
	must(!cmdline->volume || !strchr(cmdline->volume, '/'));
	must(!cmdline->nonce || (*cmdline->nonce && strlen(cmdline->nonce) <= 64));
	inside(cmdline->nonce);
	inside(cmdline->cwd);
	inside(cmdline->init);
	inside(cmdline->handover);
	inside(cmdline->hostname);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct cmdline first, second;
	if (size >= sizeof line)
		return 0;
	memcpy(line, data, size);
	line[size] = '\0';
	if (!cmdline_parse(&first, line)) {
		must(first.error[0] != '\0' && strlen(first.error) < sizeof first.error);
		return 0;
	}
	check(&first);
	if (first.exec_count == 0)
		return 0;
	encode(&first);
	must(cmdline_parse(&second, again) && second.exec_count == first.exec_count);
	for (size_t i = 0; i < first.exec_count; i++)
		must(strcmp(first.exec[i], second.exec[i]) == 0);
	return 0;
}
