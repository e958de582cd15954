/* SPDX-License-Identifier: Apache-2.0 */
/* Whether hardware virtualisation really runs a kernel here. */
#ifndef BASE_KVM_H
#define BASE_KVM_H

#include "base/error.h"

/*
 * Run a tiny 64-bit guest under /dev/kvm that does what any kernel does. 0 when it worked; else a
 * negative errno and why KVM cannot be used, as the end of a sentence ("/dev/kvm cannot be opened:
 * Permission denied"). Takes about a millisecond where KVM works, never more than 0.1 s of CPU
 * time and 2 s altogether. -ENOENT: there is no /dev/kvm; -EACCES; -ENOTSUP: it is there but does
 * not run what a plain kernel needs; other codes as the system gave them.
 */
int kvm_probe(struct ramet_error *err);

#endif
