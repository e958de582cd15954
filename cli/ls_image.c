/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/ls_image.h"

#include <unistd.h>

#include "cli/place.h"

int cli_list_image(struct invocation *inv, bool recursive, bool more, struct ramet_error *err)
{
	_cleanup_cli_place_ struct cli_place place;
	int r = cli_place_parse(inv->arguments[0], &place, err);
	if (r < 0)
		return r;
	const struct ramet_list_options options = {
		.place = place.place,
		.form = inv->json ? "json"
			: more    ? "long"
				  : "names",
		.recursive = recursive,
		.disarm = !inv->json && isatty(STDOUT_FILENO),
		.fd = STDOUT_FILENO,
	};
	return cli_end_of_pipe(ramet_image_list(&options, NULL, err));
}
