/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <jansson.h>
#include <ramet.h>

/* A file's name as a JSON string: what is not UTF-8 in it becomes U+FFFD. */
json_t *cli_json_string(const char *bytes);

/* All that is known of a fork. */
/* A default command as the library tells it, or null. */
json_t *cli_json_process(const char *process);
json_t *cli_json_fork(const struct ramet_fork_info *info);

/* Print value (NULL: it could not be made) and release it; answers an exit status. */
int cli_print_json(json_t *value);

#endif
