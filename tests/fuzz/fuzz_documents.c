/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON of images and bundles, from any bytes. The first byte says which document it is. What is
 * refused is refused with a sentence that begins with the document's name; a default command that is
 * taken reaches the guest's init word for word.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/guest_process.h"
#include "init/cmdline.h"
#include "source/bundle.h"
#include "source/oci_json.h"
#include "source/oci_platform.h"
#include "vmm/arguments.h"

/* drives.c has it, and would bring all VMMs along. */
void vm_drive_device(
	const struct vm_drive *drives, size_t index, char name[static VM_DRIVE_NAME_SIZE])
{
	snprintf(name, VM_DRIVE_NAME_SIZE, "vd%c", (char)('a' + index % 26));
}

static void must(bool condition)
{
	if (!condition)
		abort();
}

static size_t count(const char *const *list)
{
	size_t n = 0;
	while (list && list[n])
		n++;
	return n;
}

static void same(const char *const *list, char *const *decoded, size_t decoded_count)
{
	must(count(list) == decoded_count);
	for (size_t i = 0; i < decoded_count; i++)
		must(strcmp(list[i], decoded[i]) == 0);
}

static void check_process(const char *json)
{
	static const struct vmm vmm = {.name = "fuzz", .arguments = "reboot=t"};
	static const char *const plain[] = {"sh", NULL};
	static struct cmdline cmdline;
	struct guest_process process;
	struct ramet_error err = {0};
	struct text line = {0}, more = {0};
	must(guest_process_parse(&process, json, &err) == 0);
	const char *const *argv = process.args ? process.args : plain;
	const struct guest_arguments arguments = {.vmm = &vmm,
		.argv = argv,
		.env = process.env,
		.user = process.user,
		.cwd = process.cwd};
	must(guest_arguments_write(&arguments, &line, &more, &err) == 0);
	must(cmdline_parse_both(&cmdline, more.data, line.data));
	same(argv, cmdline.exec, cmdline.exec_count);
	same(process.env, cmdline.env, cmdline.env_count);
	same(process.user, cmdline.user, cmdline.user_count);
	must(!process.cwd == !cmdline.cwd && (!process.cwd || !strcmp(process.cwd, cmdline.cwd)));
	text_free(&line);
	text_free(&more);
	guest_process_free(&process);
}

static int parse_index(const char *text, size_t size, struct ramet_error *err)
{
	struct oci_index index;
	int r = oci_index_parse(&index, "F", text, size, err);
	oci_index_free(&index);
	return r;
}

static int parse_manifest(const char *text, size_t size, struct ramet_error *err)
{
	struct oci_manifest manifest;
	int r = oci_manifest_parse(&manifest, "F", text, size, err);
	must(r < 0 ||
		(manifest.config.kind == OCI_CONFIG && manifest.layers.count <= OCI_LAYERS_MAX));
	oci_manifest_free(&manifest);
	return r;
}

static int parse_config(const char *text, size_t size, struct ramet_error *err)
{
	struct oci_config config;
	int r = oci_config_parse(&config, "F", text, size, err);
	if (r == 0 && config.process)
		check_process(config.process);
	oci_config_free(&config);
	return r;
}

static int parse_docker(const char *text, size_t size, struct ramet_error *err)
{
	struct docker_manifest manifest;
	int r = docker_manifest_parse(&manifest, "F", text, size, err);
	for (size_t i = 0; r == 0 && i < manifest.images.count; i++)
		must(manifest.images.items[i].config);
	docker_manifest_free(&manifest);
	return r;
}

static int parse_bundle(const char *text, size_t size, struct ramet_error *err)
{
	struct bundle_config config;
	int r = bundle_config_parse(&config, "F", text, size, err);
	if (r == 0 && config.process)
		check_process(config.process);
	must(r < 0 || *config.root);
	bundle_config_free(&config);
	return r;
}

static const struct {
	char letter;
	int (*parse)(const char *text, size_t size, struct ramet_error *err);
} documents[] = {{'i', parse_index}, {'m', parse_manifest}, {'c', parse_config},
	{'d', parse_docker}, {'b', parse_bundle}, {'l', NULL}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ramet_error err = {0};
	const char *text = (const char *)data + 1;
	for (size_t i = 0; size && i < sizeof documents / sizeof *documents; i++) {
		if (documents[i].letter != (char)data[0])
			continue;
		int r = documents[i].parse ? documents[i].parse(text, size - 1, &err)
					   : oci_layout_check("F", text, size - 1, &err);
		must(r == 0 || (err.code == -r && err.message[0]));
		must(r == 0 || r == -ENOMEM || err.message[0] == 'F');
	}
	return 0;
}
