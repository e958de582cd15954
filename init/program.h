/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's init, as bytes: a static program of the machine this was built for. */
#ifndef INIT_PROGRAM_H
#define INIT_PROGRAM_H

#include <stddef.h>

extern const unsigned char init_program[];
extern const size_t init_program_size;

#endif
