/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/vmm.h"

#include <errno.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init/names.h"
#include "tests/unit/tap.h"
#include "vmm/arguments.h"
#include "vmm/tail.h"

static const struct guest_arguments plain = {.vmm = &vmm_firecracker, .kvm = true};

static void test_overlay(void)
{
	struct guest_arguments arguments = plain;
	const char *argv[] = {"sh", "-c", "echo \"a, b\" ü", "", NULL};
	arguments.argv = argv;
	arguments.nonce = "n0";
	arguments.hostname = "vm-1";
	arguments.read_only_paths = "/a b\n/c\n";
	arguments.append = "mitigations=off";
	struct text line = {0};
	CHECK_EQ(guest_arguments_write(&arguments, &line, NULL, NULL), 0);
	CHECK(strstr(line.data,
		" ro overlay_root=vdb ramet.nonce=n0 ramet.hostname=vm-1 "
		"ramet.ro=/a%20b,/c "
		"ramet.exec=sh,-c,echo%20%22a%2C%20b%22%20%C3%BC, mitigations=off"));
	CHECK(strstr(line.data, "console=ttyS0 ") == line.data);
	CHECK(strstr(line.data, " quiet "));
	text_free(&line);
}

static void test_roots(void)
{
	static const struct {
		bool clone, ram, in_image, initramfs, qemu;
		const char *want, *never;
	} cases[] = {
		{.ram = true, .want = " ro overlay_root=ram", .never = "vdb"},
		{.clone = true, .want = " rw ramet.mode=clone", .never = "overlay_root"},
		{.in_image = true, .want = " init=/sbin/overlay-init", .never = "root=/dev"},
		{.in_image = true, .qemu = true, .want = " root=/dev/vda init=/sbin/overlay-init"},
		{.in_image = true,
			.initramfs = true,
			.want = " ramet.handover=/sbin/overlay-init",
			.never = " init="},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct guest_arguments arguments = {
			.vmm = cases[i].qemu ? &vmm_qemu : &vmm_firecracker,
			.kvm = true,
			.clone = cases[i].clone,
			.ram = cases[i].ram,
			.in_image_init = cases[i].in_image,
			.initramfs = cases[i].initramfs};
		struct text line = {0};
		CHECK_EQ(guest_arguments_write(&arguments, &line, NULL, NULL), 0);
		CHECK(strstr(line.data, cases[i].want));
		CHECK(!cases[i].never || !strstr(line.data, cases[i].never));
		text_free(&line);
	}
}

/* The kernel's names go on after vdz, and the volume comes after the images. */
static void test_layers(void)
{
	static const struct {
		size_t index;
		const char *name;
	} names[] = {{0, "vda"}, {25, "vdz"}, {26, "vdaa"}, {51, "vdaz"}, {52, "vdba"},
		{128, "vddy"}, {701, "vdzz"}, {702, "vdaaa"}};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char name[VM_DRIVE_NAME_SIZE];
		vm_drive_name(names[i].index, name);
		CHECK_STR(name, names[i].name);
	}
	struct guest_arguments arguments = plain;
	struct text line = {0};
	arguments.images = 3;
	CHECK_EQ(guest_arguments_write(&arguments, &line, NULL, NULL), 0);
	CHECK(strstr(line.data, " ramet.layers=vda,vdb,vdc ro overlay_root=vdd"));
	text_truncate(&line, 0);
	arguments.images = 128;
	arguments.vmm = &vmm_qemu;
	CHECK_EQ(guest_arguments_write(&arguments, &line, NULL, NULL), 0);
	CHECK(strstr(line.data, "=vda,vdb,") && strstr(line.data, ",vdz,vdaa,") &&
		strstr(line.data, ",vddx ro overlay_root=vddy"));
	text_free(&line);
}

static void test_limits(void)
{
	char *longest = calloc(1, INIT_MAX_CMDLINE + 1);
	memset(longest, 'a', INIT_MAX_CMDLINE);
	const char *argv[] = {longest, NULL};
	struct guest_arguments arguments = plain;
	arguments.argv = argv;
	struct ramet_error err = {0};
	struct text line = {0};
	CHECK_EQ(guest_arguments_write(&arguments, &line, NULL, &err), -E2BIG);
	CHECK(strstr(err.message, "bytes long and can be 1919"));
	/* To the byte. */
	size_t over = line.length - 1919;
	longest[INIT_MAX_CMDLINE - over] = '\0';
	text_truncate(&line, 0);
	CHECK_EQ(guest_arguments_write(&arguments, &line, NULL, &err), 0);
	CHECK_EQ(line.length, 1919);
	arguments.append = "a\nb";
	CHECK_EQ(guest_arguments_write(&arguments, &line, NULL, &err), -EINVAL);
	text_free(&line);
	free(longest);
}

static void test_terminal(void)
{
	struct guest_arguments arguments = plain;
	arguments.rows = 24;
	arguments.columns = 80;
	arguments.term = "xterm-256color";
	struct text line = {0};
	CHECK_EQ(guest_arguments_write(&arguments, &line, NULL, NULL), 0);
	CHECK(strstr(line.data, " ramet.tty=24x80 TERM=xterm-256color"));
	text_truncate(&line, 0);
	arguments.term = "x init=/bin/evil";
	CHECK_EQ(guest_arguments_write(&arguments, &line, NULL, NULL), 0);
	CHECK(!strstr(line.data, "evil"));
	text_free(&line);
}

/* Under emulation the guest is told the rate of its clock. */
static void test_tune(void)
{
	struct guest_arguments arguments = {.vmm = &vmm_qemu, .kvm = false};
	struct text line = {0};
	CHECK_EQ(guest_arguments_write(&arguments, &line, NULL, NULL), 0);
	const char *at = strstr(line.data, " tsc_early_khz=");
	CHECK(at);
	long khz = at ? strtol(at + strlen(" tsc_early_khz="), NULL, 10) : 0;
	CHECK(khz > 100000 && khz < 10000000);
	text_truncate(&line, 0);
	arguments.kvm = true;
	CHECK_EQ(guest_arguments_write(&arguments, &line, NULL, NULL), 0);
	CHECK(!strstr(line.data, "tsc_early_khz"));
	text_free(&line);
}

static void test_choose(void)
{
	const struct vm_needs two = {.drives = 2},
			      nbd = {.drives = 2, .kinds = {[VM_DRIVE_NBD] = true}};
	struct vm_needs many = {.drives = vmm_firecracker.most_drives};
	struct vmm_choice choice;
	struct ramet_error err = {0};
	setenv("PATH", "/nonexistent::", 1);
	CHECK_EQ(vmm_choose("firecracker", "tcg", &two, &choice, &err), -EOPNOTSUPP);
	CHECK_EQ(vmm_choose("firecracker", "kvm", &two, &choice, &err), -ENOENT);
	CHECK_EQ(vmm_choose("qemu", "tcg", &two, &choice, &err), -ENOENT);
	CHECK_EQ(vmm_choose("auto", "kvm", &two, &choice, &err), -ENOENT);
	CHECK_EQ(vmm_choose("xen", "kvm", &two, &choice, &err), -EINVAL);
	CHECK_EQ(vmm_choose("qemu", "hvf", &two, &choice, &err), -EINVAL);
	char folder[] = "/tmp/ramet-vmm-XXXXXX", path[64], with[80];
	REQUIRE(mkdtemp(folder));
	for (size_t i = 0; vmms[i]; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, vmms[i]->program);
		FILE *f = fopen(path, "w");
		REQUIRE(f && fchmod(fileno(f), 0755) == 0 && fclose(f) == 0);
	}
	snprintf(with, sizeof with, "/nonexistent:%s", folder);
	setenv("PATH", with, 1);
	CHECK_EQ(vmm_choose("auto", "kvm", &two, &choice, &err), 0);
	CHECK_STR(choice.vmm->name, "firecracker");
	vmm_choice_free(&choice);
	CHECK_EQ(vmm_choose("auto", "tcg", &two, &choice, &err), 0);
	CHECK_STR(choice.vmm->name, "qemu");
	CHECK(!choice.kvm);
	vmm_choice_free(&choice);
	/* One that has no room for the drives is passed over, and that is said. */
	CHECK_EQ(vmm_choose("auto", "kvm", &many, &choice, &err), 0);
	CHECK_STR(choice.vmm->name, "firecracker");
	vmm_choice_free(&choice);
	many.drives++;
	CHECK_EQ(vmm_choose("auto", "kvm", &many, &choice, &err), 0);
	CHECK_STR(choice.vmm->name, "qemu");
	CHECK_STR(choice.reason, "firecracker has room for 17 drives, and there are 18");
	vmm_choice_free(&choice);
	/* And one that cannot reach them. */
	CHECK_EQ(vmm_choose("auto", "kvm", &nbd, &choice, &err), 0);
	CHECK_STR(choice.vmm->name, "qemu");
	CHECK_STR(choice.reason, "firecracker takes no NBD drives");
	vmm_choice_free(&choice);
	CHECK_EQ(vmm_choose("firecracker", "kvm", &nbd, &choice, &err), -EOPNOTSUPP);
	for (size_t i = 0; vmms[i]; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, vmms[i]->program);
		unlink(path);
	}
	rmdir(folder);
}

static void test_tail(void)
{
	struct tail tail = {0};
	char line[32];
	CHECK(!tail_last_line(&tail, line, sizeof line));
	CHECK_STR(line, "");
	for (int i = 0; i < 5000; i++)
		tail_add(&tail, "0123456789", 10);
	CHECK_EQ(tail.length, TAIL_SIZE);
	static const char end[] = "\r\nthe \033[1;31mlast\033[0m\tline \xff\x07\r\n \r\n\n";
	tail_add(&tail, end, sizeof end - 1);
	CHECK(tail_last_line(&tail, line, sizeof line));
	CHECK_STR(line, "the last line ??");
	char huge[3 * TAIL_SIZE];
	memset(huge, 'z', sizeof huge);
	tail_add(&tail, huge, sizeof huge);
	CHECK(tail_last_line(&tail, line, sizeof line));
	CHECK_STR(line, "zzzzzzzzzzzzzzzzzzzzzzzzzzzz...");
	CHECK(!tail_clean("\033[", 2, line, sizeof line));
	CHECK(!tail_clean("\033", 1, line, sizeof line));
}

static void test_configuration(void)
{
	const struct vm_drive drives[] = {{.id = "base", .path = "/b", .read_only = true},
		{.id = "volume", .path = "/v\xff"}};
	struct vm_config config = {.kernel = "/k",
		.command_line = "a",
		.drives = drives,
		.drive_count = 2,
		.vcpus = 1,
		.memory_mib = 128};
	struct ramet_error err = {0};
	json_t *json = NULL;
	CHECK_EQ(firecracker_configuration(&config, &json, &err), -EILSEQ);
	CHECK_EQ(err.code, EILSEQ);
	config.drive_count = 1;
	CHECK_EQ(firecracker_configuration(&config, &json, &err), 0);
	REQUIRE(json);
	char *text = json_dumps(json, JSON_COMPACT);
	CHECK_STR(text, "{\"boot-source\":{\"kernel_image_path\":\"/k\",\"boot_args\":\"a\"},"
			"\"drives\":[{\"drive_id\":\"base\",\"path_on_host\":\"/b\","
			"\"is_root_device\":true,\"is_read_only\":true,\"cache_type\":\"Unsafe\"}],"
			"\"machine-config\":{\"vcpu_count\":1,\"mem_size_mib\":128}}");
	free(text);
	json_decref(json);
}

/* Devices of both kinds count apart; what is served has no key that only files have. */
static void test_kinds(void)
{
	struct vm_drive drives[] = {
		{.id = "base", .path = "/p", .read_only = true, .kind = VM_DRIVE_PMEM},
		{.id = "layer1", .path = "/s", .read_only = true, .kind = VM_DRIVE_VHOST_USER},
		{.id = "layer2", .path = "/q", .read_only = true, .kind = VM_DRIVE_PMEM},
		{.id = "volume", .path = "/v"}};
	struct vm_config config = {.kernel = "/k",
		.command_line = "a",
		.drives = drives,
		.drive_count = 4,
		.vcpus = 1,
		.memory_mib = 128};
	struct guest_arguments arguments = {.vmm = &vmm_qemu,
		.kvm = true,
		.images = 3,
		.drives = drives,
		.in_image_init = true};
	struct text line = {0};
	CHECK_EQ(guest_arguments_write(&arguments, &line, NULL, NULL), 0);
	CHECK(strstr(line.data, " ramet.layers=pmem0,vda,pmem1 ro overlay_root=vdb"));
	CHECK(strstr(line.data, " root=/dev/pmem0 init="));
	text_free(&line);
	json_t *json = NULL;
	REQUIRE(firecracker_configuration(&config, &json, NULL) == 0);
	char *text = json_dumps(json_object_get(json, "drives"), JSON_COMPACT);
	CHECK_STR(text,
		"[{\"drive_id\":\"layer1\",\"socket\":\"/s\",\"is_root_device\":false,"
		"\"cache_type\":\"Unsafe\"},{\"drive_id\":\"volume\",\"path_on_host\":\"/v\","
		"\"is_root_device\":false,\"is_read_only\":false,"
		"\"cache_type\":\"Writeback\"}]");
	free(text);
	text = json_dumps(json_object_get(json, "pmem"), JSON_COMPACT);
	CHECK_STR(text, "[{\"id\":\"base\",\"path_on_host\":\"/p\",\"root_device\":true,"
			"\"read_only\":true},{\"id\":\"layer2\",\"path_on_host\":\"/q\","
			"\"root_device\":false,\"read_only\":true}]");
	free(text);
	json_decref(json);
}

/* The names of modules, as one word each. */
static void modules_are(
	const struct vmm *vmm, const struct vm_drive *drives, size_t count, const char *want)
{
	const char *names[VMM_MODULES_MAX];
	char got[128] = "";
	vmm_name_modules(vmm, drives, count, names);
	for (size_t i = 0; names[i]; i++)
		snprintf(got + strlen(got), sizeof got - strlen(got), "%s ", names[i]);
	CHECK_STR(got, want);
}

static void test_buses(void)
{
	static const struct vm_drive drives[25] = {
		{.id = "base", .path = "/p", .kind = VM_DRIVE_PMEM}, {.id = "v", .path = "/v"}};
	modules_are(&vmm_firecracker, drives, 1, "virtio_mmio nd_pmem virtio_pmem ");
	modules_are(&vmm_firecracker, drives, 2, "virtio_mmio virtio_blk nd_pmem virtio_pmem ");
	modules_are(&vmm_qemu, drives, 2, "virtio_pci virtio_blk nd_pmem virtio_pmem ");
	modules_are(&vmm_qemu, drives + 1, 1, "virtio_mmio virtio_blk ");
	modules_are(&vmm_qemu, drives + 1, 24, "virtio_pci virtio_blk ");
}

static void test_sockets(void)
{
	char path[VM_SOCKET_MAX + 1] = "/";
	memset(path + 1, 's', VM_SOCKET_MAX - 1);
	struct vm_drive drive = {.id = "base", .path = path, .kind = VM_DRIVE_NBD};
	struct ramet_error err = {0};
	CHECK_EQ(vmm_check_drives(&vmm_firecracker, &drive, 1, &err), -EOPNOTSUPP);
	CHECK(strstr(err.message, "firecracker takes no NBD drives; "));
	CHECK_EQ(vmm_check_drives(&vmm_qemu, &drive, 1, &err), -ENAMETOOLONG);
	CHECK(strstr(err.message, "socket of drive base has 108 bytes and can have 107"));
	path[VM_SOCKET_MAX - 1] = '\0';
	CHECK_EQ(vmm_check_drives(&vmm_qemu, &drive, 1, &err), 0);
	path[VM_SOCKET_MAX - 1] = 's';
	drive.kind = VM_DRIVE_PMEM; /* a file's name may be longer */
	CHECK_EQ(vmm_check_drives(&vmm_firecracker, &drive, 1, &err), 0);
}

TEST_MAIN({"the command line says command, volume and read-only folders", test_overlay},
	{"each kind of root has its arguments", test_roots},
	{"images are listed, and the volume comes after them", test_layers},
	{"a line that is too long is refused, to the byte", test_limits},
	{"a terminal is described, and cannot smuggle arguments in", test_terminal},
	{"only an emulated guest is told its clock's rate", test_tune},
	{"a VMM that was named is taken or refused", test_choose},
	{"the last line is found and cleaned", test_tail},
	{"Firecracker's configuration has what it needs and nothing else", test_configuration},
	{"drives that are served or mapped have their names and keys", test_kinds},
	{"the guest gets the modules of its drives' bus and kind", test_buses},
	{"a drive that cannot be reached is refused", test_sockets})
