/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "image/formats.h"

static void append(char *features, size_t size, const char *name)
{
	size_t used = strlen(features);
	int n = snprintf(features + used, size - used, "%s%s", used ? " " : "", name);
	/* One that does not fit is not begun. */
	if (n < 0 || (size_t)n >= size - used)
		features[used] = '\0';
}

void image_features(char *features, size_t size, uint32_t bits, const struct image_feature *names,
	const char *prefix)
{
	for (; names->name; names++) {
		if (bits & names->bit)
			append(features, size, names->name);
		bits &= ~names->bit;
	}
	for (uint32_t bit = 1; bit; bit <<= 1) {
		char name[64];
		snprintf(name, sizeof name, "%s_%#x", prefix, bit);
		if (bits & bit)
			append(features, size, name);
	}
}
