/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli), as RFC 3720, B.4 has it: the CRC of the nine digits "123456789" is 0xe3069283. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of what came before (crc; 0 at the start) and length more bytes. Quickest in pieces of some KiB. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t length);

/* The same without the processor's instruction. */
uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t length);

#endif
