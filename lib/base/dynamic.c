/* SPDX-License-Identifier: Apache-2.0 */
#include "base/dynamic.h"

#include <dlfcn.h>
#include <string.h>

int dynamic_load(struct dynamic_library *library, const char *soname, const char *const *names,
	void *functions, struct ramet_error *err)
{
	library->handle = dlopen(soname, RTLD_LAZY | RTLD_LOCAL);
	if (!library->handle)
		return error_set(err, ELIBACC, "the library %s cannot be loaded (%s); install it",
			soname, dlerror());
	for (size_t i = 0; names[i]; i++) {
		void *address = dlsym(library->handle, names[i]);
		if (!address) {
			dynamic_close(library);
			return error_set(err, ELIBACC,
				"the library %s has no %s: it is too old; install a newer one",
				soname, names[i]);
		}
		/* POSIX lets dlsym()'s answer be a function (dlsym(3p)). */
		memcpy((char *)functions + i * sizeof address, &address, sizeof address);
	}
	return 0;
}

void dynamic_close(struct dynamic_library *library)
{
	if (library->handle)
		dlclose(library->handle);
	library->handle = NULL;
}
