/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names are those of Go's GOOS and GOARCH, as the OCI image index has them; the variants of ARM
 * are v5 to v8, those of amd64 the levels of the x86-64 ABI (v1 to v4). No variant means v8 for
 * arm64, v7 for arm, v1 for amd64: an image for a later one is taken only when it is named.
 */
#include "source/oci_platform.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

static const struct {
	const char *machine, *architecture; /* as uname(2) and as Go say it */
} machines[] = {
	{"x86_64", "amd64"},
	{"aarch64", "arm64"},
	{"armv7l", "arm"},
	{"armv6l", "arm"},
	{"i686", "386"},
	{"i586", "386"},
	{"ppc64le", "ppc64le"},
	{"s390x", "s390x"},
	{"riscv64", "riscv64"},
	{"loongarch64", "loong64"},
	{"mips64", "mips64le"},
};

static void host_platform(struct platform_wish *wish)
{
	struct utsname name;
	const char *architecture = "amd64";
	if (uname(&name) == 0)
		architecture = name.machine;
	for (size_t i = 0; i < sizeof machines / sizeof *machines; i++)
		if (strcmp(architecture, machines[i].machine) == 0)
			architecture = machines[i].architecture;
	snprintf(wish->os, sizeof wish->os, "linux");
	snprintf(wish->architecture, sizeof wish->architecture, "%.31s", architecture);
}

static bool is_word(const char *word)
{
	size_t length = strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789._-");
	return length > 0 && !word[length];
}

int platform_wish_parse(const char *text, struct platform_wish *wish, struct ramet_error *err)
{
	*wish = (struct platform_wish){.asked = text != NULL};
	if (!text) {
		host_platform(wish);
		return 0;
	}
	char end;
	int parts = sscanf(text, "%31[^/]/%31[^/]/%31[^/]%c", wish->os, wish->architecture,
		wish->variant, &end);
	bool sound = parts >= 2 && parts <= 3 && is_word(wish->os) && is_word(wish->architecture) &&
		     (parts == 2 || is_word(wish->variant)) &&
		     strlen(wish->os) + strlen(wish->architecture) + strlen(wish->variant) +
				     (parts == 3 ? 2u : 1u) ==
			     strlen(text);
	return sound ? 0
		     : error_set(err, EINVAL,
			       "the platform is '%s' and must be OS/ARCHITECTURE[/VARIANT], such as "
			       "linux/amd64",
			       text);
}

static const char *plain_variant(const char *architecture)
{
	return strcmp(architecture, "arm64") == 0   ? "v8"
	       : strcmp(architecture, "arm") == 0   ? "v7"
	       : strcmp(architecture, "amd64") == 0 ? "v1"
						    : "";
}

int platform_match(const struct platform_wish *wish, const struct oci_platform *platform)
{
	if (!platform->os || strcmp(wish->os, platform->os) != 0 ||
		strcmp(wish->architecture, platform->architecture) != 0)
		return 0;
	const char *plain = plain_variant(wish->architecture);
	const char *wanted = *wish->variant ? wish->variant : plain;
	const char *variant = platform->variant && *platform->variant ? platform->variant : plain;
	if (strcmp(wanted, variant) == 0)
		return 3;
	if (*wish->variant)
		return 0;
	/* An older ARM's programs run too. */
	bool older = strcmp(wish->architecture, "arm") == 0 && strcmp(variant, plain) < 0;
	return older ? 1 + (strcmp(variant, "v6") == 0) : 0;
}

static void append_word(struct text *text, const char *before, const char *word)
{
	char part[64];
	snprintf(part, sizeof part, "%.60s", word);
	text_append(text, before);
	text_append(text, text_disarm(part));
}

void platform_append(struct text *text, const struct oci_platform *platform)
{
	if (!platform->os) {
		text_append(text, "an unnamed platform");
		return;
	}
	append_word(text, "", platform->os);
	append_word(text, "/", platform->architecture);
	if (platform->variant && *platform->variant)
		append_word(text, "/", platform->variant);
}

void platform_wish_append(struct text *text, const struct platform_wish *wish)
{
	platform_append(
		text, &(const struct oci_platform){wish->os, wish->architecture, wish->variant});
}
