/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Firecracker, driven over its API socket: an answer of 400 carries a sentence of its own
 * (fault_message), which a configuration file does not give. Both are made from one JSON object
 * (firecracker_config.c), so that what `ramet config` prints is what `ramet run` does.
 *
 * The socket is in the fork's folder. Its address must fit in 108 bytes and the store's root may
 * be longer: Firecracker runs in that folder and is given the bare name, and ramet connects
 * through /proc/self/fd/N.
 *
 * Firecracker logs to standard output, which is the guest's console: the log gets a file. It also
 * makes standard output non-blocking as its machine starts (device_manager/mod.rs,
 * set_stdout_nonblocking) and drops what then finds the pipe full, the init's last line among it.
 * So ramet keeps that end of the pipe open until the machine has started, and sets it back.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmm/http.h"
#include "vmm/tail.h"
#include "vmm/vmm.h"

#define API_SOCKET "api.sock"
#define API_LOG    "firecracker.log"

/* Each device takes one of the interrupts 5 to 23, and VMGenID and VMClock take two of them (1.16.1
 * refuses an 18th drive at its start). */
enum { DRIVES_MAX = 17, PMEM_SINCE = 14 };
enum { CONNECT_TRIES = 500, CONNECT_PAUSE_MS = 10, ANSWER_MS = 30000 };

static int api_connect(const struct vm_config *config, struct vm *vm, struct ramet_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s",
		config->folder_fd, API_SOCKET);
	vm->control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (vm->control < 0)
		return error_errno(err, errno, "cannot make a socket");
	for (int i = 0; i < CONNECT_TRIES; i++) {
		if (connect(vm->control, (struct sockaddr *)&address, sizeof address) == 0)
			return 0;
		if (errno != ENOENT && errno != ECONNREFUSED)
			return error_errno(err, errno, "cannot reach Firecracker's socket %s/%s",
				config->folder, API_SOCKET);
		struct pollfd fds[] = {{.fd = vm->process.pidfd, .events = POLLIN},
			{.fd = config->stop_fd, .events = POLLIN}};
		if (poll(fds, 2, CONNECT_PAUSE_MS) > 0)
			return fds[1].revents ? -ECANCELED : -ECONNRESET;
	}
	return error_set(err, ETIMEDOUT, "Firecracker did not open its socket within %d s",
		CONNECT_TRIES * CONNECT_PAUSE_MS / 1000);
}

/* What a refusal says: {"fault_message": "..."}, or the body as it is. */
static void fault_sentence(const struct http_response *response, char *sentence, size_t size)
{
	json_t *body = json_loadb(response->body, response->body_length, 0, NULL);
	const char *fault = json_string_value(json_object_get(body, "fault_message"));
	const char *said = fault ? fault : response->body;
	size_t length = fault ? strlen(fault) : response->body_length;
	char *newline = memchr(said, '\n', length);
	if (newline)
		length = (size_t)(newline - said);
	if (!tail_clean(said, length, sentence, size))
		snprintf(sentence, size, "status %d and no reason", response->status);
	json_decref(body);
}

static int api_ask(const struct vm_config *config, const struct vm *vm, const char *method,
	const char *path, const char *body, struct text *answer, struct http_response *response,
	struct ramet_error *err)
{
	_cleanup_text_ struct text request = {0};
	http_request(&request, method, path, body);
	struct http_watch watch = {
		.ended_fd = vm->process.pidfd, .stop_fd = config->stop_fd, .timeout_ms = ANSWER_MS};
	int r = http_exchange(vm->control, &request, &watch, answer, response);
	if (r == -ECANCELED || r == -ECONNRESET)
		return r;
	if (r < 0)
		return error_errno(err, -r, "Firecracker did not answer %s %s", method, path);
	if (response->status >= 200 && response->status < 300)
		return 0;
	char sentence[512];
	fault_sentence(response, sentence, sizeof sentence);
	return error_set(err, EPROTO, "Firecracker refused %s %s: %s", method, path, sentence);
}

static int api_put(const struct vm_config *config, const struct vm *vm, const char *path,
	const json_t *object, struct ramet_error *err)
{
	_cleanup_free_ char *body = json_dumps(object, JSON_COMPACT);
	_cleanup_text_ struct text answer = {0};
	struct http_response response;
	if (!body)
		return error_memory(err);
	return api_ask(config, vm, "PUT", path, body, &answer, &response, err);
}

/* pmem is there since 1.14; a version before it would not know what is asked. */
static int api_check_pmem(
	const struct vm_config *config, const struct vm *vm, struct ramet_error *err)
{
	_cleanup_text_ struct text answer = {0};
	struct http_response response;
	int r = api_ask(config, vm, "GET", "/version", NULL, &answer, &response, err);
	if (r < 0)
		return r;
	json_t *body = json_loadb(response.body, response.body_length, 0, NULL);
	const char *version = json_string_value(json_object_get(body, "firecracker_version"));
	unsigned major = 0, minor = 0;
	if (!version || sscanf(version, "%u.%u", &major, &minor) != 2)
		r = error_set(err, EPROTO, "Firecracker does not tell its version");
	else if (major < 1 || (major == 1 && minor < PMEM_SINCE))
		r = error_set(err, EOPNOTSUPP,
			"this Firecracker is version %u.%u, and virtio-pmem drives need 1.%d; "
			"take a newer one, or attach the drive in another way",
			major, minor, PMEM_SINCE);
	json_decref(body);
	return r;
}

/* Each of an array of devices, under its id. */
static int api_put_all(const struct vm_config *config, const struct vm *vm, const char *kind,
	const char *id_key, const json_t *array, struct ramet_error *err)
{
	size_t i;
	json_t *object;
	int r = 0;
	json_array_foreach(array, i, object)
	{
		char path[128];
		snprintf(path, sizeof path, "/%s/%s", kind,
			json_string_value(json_object_get(object, id_key)));
		r = api_put(config, vm, path, object, err);
		if (r < 0)
			break;
	}
	return r;
}

/* Everything in the order Firecracker wants it: what the machine is, then start. */
static int api_configure(const struct vm_config *config, const struct vm *vm,
	const json_t *configuration, struct ramet_error *err)
{
	static const char *const parts[] = {"machine-config", "boot-source"};
	const json_t *pmem = json_object_get(configuration, "pmem");
	int r = pmem ? api_check_pmem(config, vm, err) : 0;
	for (size_t i = 0; i < ARRAY_SIZE(parts) && r == 0; i++) {
		char path[64];
		snprintf(path, sizeof path, "/%s", parts[i]);
		r = api_put(config, vm, path, json_object_get(configuration, parts[i]), err);
	}
	if (r == 0)
		r = api_put_all(config, vm, "drives", "drive_id",
			json_object_get(configuration, "drives"), err);
	if (r == 0)
		r = api_put_all(config, vm, "pmem", "id", pmem, err);
	if (r < 0)
		return r;
	json_t *action = json_pack("{s:s}", "action_type", "InstanceStart");
	r = action ? api_put(config, vm, "/actions", action, err) : error_memory(err);
	json_decref(action);
	return r;
}

static int firecracker_start(const struct vmm *vmm, const char *program,
	const struct vm_config *config, struct vm *vm, struct ramet_error *err)
{
	json_t *configuration;
	int r = firecracker_configuration(config, &configuration, err);
	if (r < 0)
		return r;
	/* What a killed run left behind; the caller holds the fork's lock. */
	unlinkat(config->folder_fd, API_SOCKET, 0);
	/* Older versions want the log to exist. */
	_cleanup_close_ int log = openat(config->folder_fd, API_LOG,
		O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	const char *const argv[] = {
		program, "--api-sock", API_SOCKET, "--log-path", API_LOG, "--level", "Error", NULL};
	struct process_options options = {.argv = (char *const *)argv,
		.dirfd = config->folder_fd,
		.log = "vmm.log",
		.keep_fds = &config->keep_fd,
		.keep_fd_count = config->keep_fd >= 0,
		.hold_console = true};
	r = process_start(&options, &vm->process, err);
	if (r == 0)
		r = api_connect(config, vm, err);
	if (r == 0)
		r = api_configure(config, vm, configuration, err);
	process_console_let_go(&vm->process);
	unlinkat(config->folder_fd, API_SOCKET, 0);
	json_decref(configuration);
	return r;
}

/* Ctrl-Alt-Del is all there is: ramet's init and systemd end everything cleanly on it, a bare
 * kernel reboots, and a guest that does nothing is killed by the caller. The answer does not
 * matter. */
static void firecracker_stop(struct vm *vm)
{
	_cleanup_text_ struct text request = {0};
	http_request(&request, "PUT", "/actions", "{\"action_type\":\"SendCtrlAltDel\"}");
	if (!request.failed && vm->control >= 0)
		(void)!send(vm->control, request.data, request.length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

const struct vmm vmm_firecracker = {
	.name = "firecracker",
	.program = "firecracker",
	.install =
		"put the firecracker program of a Firecracker release into PATH, or take --vmm qemu",
	.needs_kvm = true,
	.needs_elf = true,
	.says_root = true,
	.arguments = "reboot=k panic=1 i8042.noaux i8042.nomux i8042.dumbkbd random.trust_cpu=on",
	.reserve = 52,
	.drive_reserve = 38,
	.mmio_drives = DRIVES_MAX,
	.most_drives = DRIVES_MAX,
	.takes = {[VM_DRIVE_FILE] = true, [VM_DRIVE_VHOST_USER] = true, [VM_DRIVE_PMEM] = true},
	.start = firecracker_start,
	.ask = firecracker_stop,
	.stop = firecracker_stop,
};
