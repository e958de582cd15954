/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* A thread with a stack of so many bytes, to be joined. Signals are for the thread that called. False: there
 * are too many, or there is no memory for it. */
bool thread_start(pthread_t *thread, size_t stack, void *(*run)(void *argument), void *argument);

#endif
