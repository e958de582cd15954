/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/cli.h"

const char *cli_format_choose(const char *given, const char *image)
{
	static const char *const named[] = {"ext4", "erofs"};
	const char *dot = image ? strrchr(image, '.') : NULL;
	if (given)
		return given;
	for (size_t i = 0; dot && i < sizeof named / sizeof *named; i++)
		if (strcmp(dot + 1, named[i]) == 0)
			return named[i];
	return "squashfs";
}
