/* SPDX-License-Identifier: Apache-2.0 */
#include "init/cmdline.h"
#include "tests/unit/tap.h"

static struct cmdline c;
static char text[65536];

static bool parse(const char *line)
{
	snprintf(text, sizeof text, "%s", line);
	return cmdline_parse(&c, text);
}

static void test_nothing_asked(void)
{
	REQUIRE(parse("console=ttyS0 reboot=k panic=1 root=/dev/vda ro quiet"));
	CHECK(!c.volume && !c.clone && !c.exec_count && !c.nonce && !c.tty);
	CHECK_EQ(c.layer_count, 1);
	CHECK_STR(c.layers[0], "vda");
	CHECK(c.read_only);
	CHECK(parse(""));
}

static void test_all_asked(void)
{
	REQUIRE(parse("overlay_root=/dev/vdc ramet.layers=vda,/dev/vdb ramet.nonce=aZ09 rw "
		      "ramet.exec=sh,-c,echo%20%22hi%22%2c%0a,,%c3%A9 ramet.cwd=/a%20b "
		      "ramet.ro=/x,/y%2cz ramet.tty=24x80 ramet.hostname=vm-1.x ramet.init=/lib/i "
		      "ramet.verbose=1 ramet.mode=overlay"));
	CHECK_STR(c.volume, "vdc");
	CHECK_EQ(c.layer_count, 2);
	CHECK_STR(c.layers[1], "vdb");
	CHECK_EQ(c.exec_count, 5);
	CHECK_STR(c.exec[2], "echo \"hi\",\n");
	CHECK_STR(c.exec[3], "");
	CHECK_STR(c.exec[4], "\xc3\xa9");
	CHECK(!c.exec[5]);
	CHECK_STR(c.cwd, "/a b");
	CHECK_EQ(c.ro_count, 2);
	CHECK_STR(c.ro[1], "/y,z");
	CHECK_EQ(c.rows, 24);
	CHECK_EQ(c.columns, 80);
	CHECK_STR(c.nonce, "aZ09");
	CHECK_STR(c.hostname, "vm-1.x");
	CHECK_STR(c.init, "/lib/i");
	CHECK(c.verbose && !c.read_only);
}

/* The cases of the kernel's own next_arg(). */
static void test_quotes(void)
{
	REQUIRE(parse("\"overlay_root=vdb\" ramet.cwd=\"/a b\"\tramet.exec=a\xa0ramet.nonce=n"));
	CHECK_STR(c.volume, "vdb");
	CHECK_STR(c.cwd, "/a b");
	CHECK_STR(c.exec[0], "a");
	CHECK_STR(c.nonce, "n");
	REQUIRE(parse("dyndbg=\"file x +p\" other=\" ramet.unknown=1 \" \"ramet.exec=a b\""));
	CHECK_STR(c.exec[0], "a b");
	CHECK(parse("x=\" ramet.unknown=1"));
}

static void test_end_of_kernel_arguments(void)
{
	CHECK(parse("overlay_root=vdb -- ramet.unknown=1 overlay_root=x/y"));
	CHECK_STR(c.volume, "vdb");
}

static void test_ram_and_last_one_wins(void)
{
	REQUIRE(parse("overlay_root=vdb overlay_root=ram"));
	CHECK(!c.volume);
	REQUIRE(parse("overlay_root=ram overlay_root=vdb"));
	CHECK_STR(c.volume, "vdb");
	REQUIRE(parse("overlay_root="));
	CHECK(!c.volume);
	CHECK(!parse("overlay_root"));
}

static void test_refusals(void)
{
	static const struct {
		const char *line, *sentence;
	} wrong[] = {
		{"ramet.unknown=1", "the kernel argument ramet.unknown is not known to this init"},
		{"ramet.exec", "the kernel argument ramet.exec needs a value"},
		{"ramet.exec=", "the kernel argument ramet.exec names no command"},
		{"ramet.exec=a%0", "the kernel argument ramet.exec is not a well encoded list"},
		{"ramet.exec=%00", "the kernel argument ramet.exec is not a well encoded list"},
		{"ramet.exec=a,%zz", "the kernel argument ramet.exec is not a well encoded list"},
		{"overlay_root=../vdb", "the kernel argument overlay_root=../vdb names no device"},
		{"overlay_root=/dev/", "the kernel argument overlay_root=/dev/ names no device"},
		{"ramet.layers=vda,,vdb", "the kernel argument ramet.layers= names no device"},
		{"ramet.mode=both",
			"the kernel argument ramet.mode=both is neither overlay nor clone"},
		{"ramet.cwd=tmp",
			"the kernel argument ramet.cwd=tmp is not a well encoded absolute path"},
		{"ramet.env=A=b,C", "the kernel argument ramet.env=C is not NAME=VALUE"},
		{"ramet.env==b", "the kernel argument ramet.env==b is not NAME=VALUE"},
		{"ramet.env=A=%0", "the kernel argument ramet.env is not a well encoded list"},
		{"ramet.user=", "the kernel argument ramet.user names no user"},
		{"ramet.user=:5", "the kernel argument ramet.user names no user"},
		{"ramet.ro=/a,b", "the kernel argument ramet.ro=b is not an absolute path"},
		{"ramet.tty=24x", "the kernel argument ramet.tty=24x is not ROWSxCOLUMNS"},
		{"ramet.tty=0x0", "the kernel argument ramet.tty=0x0 is not ROWSxCOLUMNS"},
		{"ramet.tty=24x80x", "the kernel argument ramet.tty=24x80x is not ROWSxCOLUMNS"},
		{"ramet.tty=99999x80",
			"the kernel argument ramet.tty=99999x80 is not ROWSxCOLUMNS"},
		{"ramet.hostname=a/b", "the kernel argument ramet.hostname=a/b is no host name"},
		{"ramet.nonce=a:b",
			"the kernel argument ramet.nonce=a:b is not 1 to 64 letters and digits"},
		{"ramet.verbose=yes", "the kernel argument ramet.verbose=yes is neither 0 nor 1"},
		{"ramet.mode=clone overlay_root=vdb",
			"the kernel argument ramet.mode=clone goes without overlay_root"},
		{"ramet.mode=clone ramet.layers=vda,vdb",
			"the kernel argument ramet.mode=clone goes with a single device in ramet.layers"}};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		CHECK(!parse(wrong[i].line));
		CHECK_STR(c.error, wrong[i].sentence);
	}
}

static void test_nonce_in_spite_of_errors(void)
{
	CHECK(!parse("ramet.mode=x ramet.what=1 ramet.nonce=abc"));
	CHECK_STR(c.nonce, "abc");
	CHECK_STR(c.error, "the kernel argument ramet.mode=x is neither overlay nor clone");
}

static void test_command(void)
{
	REQUIRE(parse("ramet.env=A=b%20c%2Cd,E=,PATH=/x:/y ramet.user=app:27,44,77"));
	CHECK_EQ(c.env_count, 3);
	CHECK_STR(c.env[0], "A=b c,d");
	CHECK_STR(c.env[1], "E=");
	CHECK_EQ(c.user_count, 3);
	CHECK_STR(c.user[0], "app:27");
	CHECK_STR(c.user[2], "77");
}

static void test_both(void)
{
	static char more[] = "ramet.exec=a,b ramet.user=app ramet.env=A=1";
	static char line[] = "ramet.nonce=n ramet.user=root";
	REQUIRE(cmdline_parse_both(&c, more, line));
	CHECK_EQ(c.exec_count, 2);
	CHECK_STR(c.user[0], "root");
	CHECK_EQ(c.env_count, 1);
	CHECK_STR(c.nonce, "n");
	static char wrong[] = "ramet.exec=a ramet.colour=red", good[] = "ramet.nonce=n";
	CHECK(!cmdline_parse_both(&c, wrong, good));
	CHECK_STR(c.nonce, "n");
}

/* name=x0,x1,... with count items */
static bool parse_many(const char *name, const char *item, unsigned count)
{
	size_t used = (size_t)snprintf(text, sizeof text, "%s=", name);
	for (unsigned i = 0; i < count; i++)
		used += (size_t)snprintf(
			text + used, sizeof text - used, "%s%s", i ? "," : "", item);
	return cmdline_parse(&c, text);
}

static void test_limits(void)
{
	CHECK(parse_many("ramet.layers", "vdaa", INIT_MAX_LAYERS));
	CHECK_EQ(c.layer_count, INIT_MAX_LAYERS);
	CHECK(!parse_many("ramet.layers", "vdaa", INIT_MAX_LAYERS + 1));
	CHECK_STR(c.error, "the kernel argument ramet.layers has more than 128 devices");
	CHECK(parse_many("ramet.exec", "a", CMDLINE_MAX_ARGUMENTS));
	CHECK(!c.exec[CMDLINE_MAX_ARGUMENTS]);
	CHECK(!parse_many("ramet.exec", "a", CMDLINE_MAX_ARGUMENTS + 1));
	CHECK(parse_many("ramet.env", "A=b", CMDLINE_MAX_ENV));
	CHECK_EQ(c.env_count, CMDLINE_MAX_ENV);
	CHECK(!parse_many("ramet.env", "A=b", CMDLINE_MAX_ENV + 1));
	CHECK_STR(c.error, "the kernel argument ramet.env has more than 1024 items");
	CHECK(parse_many("ramet.user", "1", CMDLINE_MAX_GROUPS + 1));
	CHECK(!parse_many("ramet.user", "1", CMDLINE_MAX_GROUPS + 2));
	CHECK(parse_many("ramet.ro", "/a", CMDLINE_MAX_RO));
	CHECK(!parse_many("ramet.ro", "/a", CMDLINE_MAX_RO + 1));
}

TEST_MAIN({"an ordinary command line asks for changes in memory over vda", test_nothing_asked},
	{"every argument is understood, encoded bytes too", test_all_asked},
	{"quotes are the kernel's", test_quotes},
	{"what follows -- is not for the init", test_end_of_kernel_arguments},
	{"the last of two equal arguments counts", test_ram_and_last_one_wins},
	{"what is not understood is refused in a sentence", test_refusals},
	{"the nonce is found in spite of errors", test_nonce_in_spite_of_errors},
	{"a command's environment and user", test_command},
	{"what the line has no room for counts less than the line", test_both},
	{"lists end at their limits", test_limits})
