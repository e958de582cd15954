/* SPDX-License-Identifier: Apache-2.0 */
/* Platforms as images name them: "linux/amd64", "linux/arm/v7". */
#ifndef SOURCE_OCI_PLATFORM_H
#define SOURCE_OCI_PLATFORM_H

#include "base/text.h"
#include "source/oci_json.h"

struct platform_wish {
	char os[32], architecture[32], variant[32]; /* variant "": none was named */
	bool asked;                                 /* by the user, not the host's own */
};

/* OS/ARCH[/VARIANT]; NULL means the host's. -EINVAL and a sentence. */
int platform_wish_parse(const char *text, struct platform_wish *wish, struct ramet_error *err);

/* How well a platform serves: 0 not at all, more is better. */
int platform_match(const struct platform_wish *wish, const struct oci_platform *platform);

/* "linux/arm/v7", or "an unnamed platform", made fit for a message. */
void platform_append(struct text *text, const struct oci_platform *platform);
void platform_wish_append(struct text *text, const struct platform_wish *wish);

#endif
