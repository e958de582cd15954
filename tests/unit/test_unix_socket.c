/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets with a name: who may connect, and what is replaced. */
#include "export/unix_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/tap.h"

static char folder[] = "/tmp/ramet-socket.XXXXXX", path[64];

static void begin(void)
{
	strcpy(folder + sizeof folder - 7, "XXXXXX");
	REQUIRE(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/s", folder);
}

static void end(void)
{
	unlink(path);
	CHECK_EQ(rmdir(folder), 0);
}

static void owner_only(void)
{
	struct unix_socket listener = UNIX_SOCKET_NONE;
	struct ramet_error err = {0};
	struct stat st;
	begin();
	umask(0);
	CHECK_EQ(unix_socket_listen(&listener, path, NULL, &err), 0);
	CHECK_EQ(stat(path, &st), 0);
	CHECK_EQ(st.st_mode & 07777, 0600);
	unix_socket_close(&listener);
	CHECK(access(path, F_OK) < 0);
	end();
}

static void served_is_kept(void)
{
	struct unix_socket first = UNIX_SOCKET_NONE, second = UNIX_SOCKET_NONE;
	struct ramet_error err = {0};
	begin();
	CHECK_EQ(unix_socket_listen(&first, path, NULL, &err), 0);
	CHECK_EQ(unix_socket_listen(&second, path, NULL, &err), -EADDRINUSE);
	CHECK(strstr(err.message, "another program"));
	CHECK_EQ(access(path, F_OK), 0);
	unix_socket_close(&first);
	end();
}

static void stale_is_replaced(void)
{
	struct unix_socket first = UNIX_SOCKET_NONE, second = UNIX_SOCKET_NONE;
	struct ramet_error err = {0};
	begin();
	CHECK_EQ(unix_socket_listen(&first, path, NULL, &err), 0);
	close(first.fd); /* as if killed */
	CHECK_EQ(unix_socket_listen(&second, path, NULL, &err), 0);
	free(first.path);
	unix_socket_close(&second);
	end();
}

static void name_of_another(void)
{
	struct unix_socket first = UNIX_SOCKET_NONE, second = UNIX_SOCKET_NONE;
	struct ramet_error err = {0};
	begin();
	CHECK_EQ(unix_socket_listen(&first, path, NULL, &err), 0);
	unlink(path);
	CHECK_EQ(unix_socket_listen(&second, path, NULL, &err), 0);
	unix_socket_close(&first);
	CHECK_EQ(access(path, F_OK), 0);
	unix_socket_close(&second);
	end();
}

static void files_are_kept(void)
{
	struct unix_socket listener = UNIX_SOCKET_NONE;
	struct ramet_error err = {0};
	begin();
	close(open(path, O_CREAT | O_WRONLY, 0600));
	CHECK_EQ(unix_socket_listen(&listener, path, NULL, &err), -EADDRINUSE);
	CHECK(strstr(err.message, "no socket"));
	CHECK_EQ(access(path, F_OK), 0);
	end();
}

static void long_paths(void)
{
	struct unix_socket listener = UNIX_SOCKET_NONE;
	struct ramet_error err = {0};
	char name[200];
	memset(name, 'x', sizeof name - 1);
	name[sizeof name - 1] = 0;
	CHECK_EQ(unix_socket_listen(&listener, name, NULL, &err), -ENAMETOOLONG);
	CHECK(strstr(err.message, "107"));
}

TEST_MAIN({"only the owner may connect, and the name goes with the server", owner_only},
	{"a socket that is served is not replaced", served_is_kept},
	{"one that a killed server left is", stale_is_replaced},
	{"a server that lost its name does not take away another's", name_of_another},
	{"a file that is no socket is kept", files_are_kept},
	{"a path that is too long is refused", long_paths})
