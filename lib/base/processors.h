/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_PROCESSORS_H
#define BASE_PROCESSORS_H

/* How many processors this process may run on, from 1 to most; 1 where that is not told. */
unsigned processors_count(unsigned most);

#endif
