/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices for tests, by a text:
 *
 *   PATH               a file
 *   memory:SIZE        memory, zeros at first
 *   fault:RULES:TEXT   another one of these that misbehaves
 *
 * RULES are EVENT=WHICH=FAULT, separated by commas:
 *   EVENT   read, write, commit, put, flush, discard: what the engine asks the device for. A request of
 *           the engine's is one event, of these devices.
 *   WHICH   N (the N-th, from 1 on), N+ (that and all later ones), * (all)
 *   FAULT   fail, fail-ERRNO (a number; EIO without it), delay-MS, reorder-MS (a delay of chance),
 *           short (the answer ends after a sector; read and write), torn (the first half is written,
 *           then it fails; write)
 *
 *   "fault:read=3=fail,write=*=delay-20:memory:1M"
 */
#ifndef TESTS_TEST_DEVICE_H
#define TESTS_TEST_DEVICE_H

#include "block/device.h"

/* -EINVAL: the text is none of these. */
int test_device_open(
	const char *text, bool read_only, struct block_device **device, struct ramet_error *err);

#endif
