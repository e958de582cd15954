/* SPDX-License-Identifier: Apache-2.0 */
/* VMMs that mean ill: messages that make no sense end their connection. */
#include <sys/socket.h>

#include "tests/unit/vhost_hostile.h"

static bool send_raw(const void *bytes, size_t length)
{
	return send(client.socket, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static bool version_2(void)
{
	const uint32_t head[] = {VHOST_GET_FEATURES, 2, 0};
	return send_raw(head, sizeof head);
}

static bool unknown_message(void)
{
	return client_send(&client, 99, 0, NULL, 0, NULL, 0);
}

static bool number_of_no_message(void)
{
	return client_send(&client, UINT32_MAX, 0, NULL, 0, NULL, 0);
}

static bool log_of_writes(void)
{
	return client_send_number(&client, 6, 0);
}

static bool too_long(void)
{
	const uint32_t head[] = {VHOST_SET_FEATURES, VHOST_VERSION, 1 << 20};
	return send_raw(head, sizeof head);
}

static bool too_short(void)
{
	uint32_t half = 0;
	return client_send(&client, VHOST_SET_FEATURES, 0, &half, sizeof half, NULL, 0);
}

static bool ends_in_the_middle(void)
{
	const uint32_t head[] = {VHOST_SET_FEATURES, VHOST_VERSION, 8};
	return send_raw(head, sizeof head) && shutdown(client.socket, SHUT_WR) == 0;
}

static bool features_not_offered(void)
{
	return client_send_number(&client, VHOST_SET_FEATURES, UINT64_MAX);
}

static bool protocol_not_offered(void)
{
	return client_send_number(&client, VHOST_SET_PROTOCOL_FEATURES, 1ULL << 40);
}

static bool queue_that_is_none(void)
{
	return client_send_vring(&client, VHOST_SET_VRING_ENABLE, 64, 1);
}

static bool queue_far_away(void)
{
	return client_send_vring(&client, VHOST_SET_VRING_BASE, UINT32_MAX, 0);
}

static bool size_0(void)
{
	return client_send_vring(&client, VHOST_SET_VRING_NUM, 1, 0);
}

static bool size_100(void)
{
	return client_send_vring(&client, VHOST_SET_VRING_NUM, 1, 100);
}

static bool size_32768(void)
{
	return client_send_vring(&client, VHOST_SET_VRING_NUM, 1, 32768);
}

static bool size_while_served(void)
{
	return client_send_vring(&client, VHOST_SET_VRING_NUM, 0, 128);
}

static bool base_far_away(void)
{
	return client_send_vring(&client, VHOST_SET_VRING_BASE, 1, 1 << 16);
}

static bool send_address(uint64_t descriptors, uint64_t available, uint64_t used)
{
	const struct vhost_vring_address address = {
		.descriptors = descriptors, .available = available, .used = used};
	return client_send(&client, VHOST_SET_VRING_ADDR, 0, &address, sizeof address, NULL, 0);
}

static bool rings_out_of_memory(void)
{
	return send_address(0x1000, 0x2000, 0x3000);
}

static bool rings_at_the_end(void)
{
	return send_address(CLIENT_USER, CLIENT_USER + 0x6000, CLIENT_USER + MEMORY - 16);
}

static bool rings_across_regions(void)
{
	return send_address(CLIENT_USER + MEMORY / 2 - 16, CLIENT_USER, CLIENT_USER + 0x6000);
}

static bool rings_not_aligned(void)
{
	return send_address(CLIENT_USER + 8, CLIENT_USER + 0x6001, CLIENT_USER + 0x8002);
}

static bool send_table(uint32_t count, const struct vhost_wire_region *regions, unsigned fds)
{
	struct {
		uint32_t count, padding;
		struct vhost_wire_region regions[VHOST_TABLE_REGIONS];
	} table = {.count = count};
	int all[16] = {0};
	memcpy(table.regions, regions, MIN(count, 8) * sizeof *regions);
	for (unsigned i = 0; i < fds; i++)
		all[i] = client.memory_fd;
	return client_send(
		&client, VHOST_SET_MEM_TABLE, 0, &table, 8 + MIN(count, 8) * 32, all, fds);
}

static bool guest_addresses_overlap(void)
{
	return send_table(2,
		(struct vhost_wire_region[8]){{0, 8192, CLIENT_USER, 0}, {4096, 8192, 1 << 20, 0}},
		2);
}

static bool user_addresses_overlap(void)
{
	return send_table(2,
		(struct vhost_wire_region[8]){
			{0, 8192, CLIENT_USER, 0}, {1 << 20, 8192, CLIENT_USER + 4096, 0}},
		2);
}

static bool region_not_aligned(void)
{
	return send_table(1, (struct vhost_wire_region[8]){{0, MEMORY - 100, CLIENT_USER, 0}}, 1);
}

static bool offset_not_aligned(void)
{
	return send_table(1, (struct vhost_wire_region[8]){{0, 8192, CLIENT_USER, 512}}, 1);
}

static bool region_of_nothing(void)
{
	return send_table(1, (struct vhost_wire_region[8]){{0, 0, CLIENT_USER, 0}}, 1);
}

static bool region_longer_than_its_file(void)
{
	return send_table(1, (struct vhost_wire_region[8]){{0, 2 * MEMORY, CLIENT_USER, 0}}, 1);
}

static bool region_beyond_its_file(void)
{
	return send_table(
		1, (struct vhost_wire_region[8]){{0, 8192, CLIENT_USER, UINT64_MAX - 8191}}, 1);
}

static bool region_that_wraps(void)
{
	return send_table(
		1, (struct vhost_wire_region[8]){{UINT64_MAX - 4095, 8192, CLIENT_USER, 0}}, 1);
}

static bool table_without_fds(void)
{
	return send_table(1, (struct vhost_wire_region[8]){{0, 8192, CLIENT_USER, 0}}, 0);
}

static bool table_with_too_many_fds(void)
{
	return send_table(1, (struct vhost_wire_region[8]){{0, 8192, CLIENT_USER, 0}}, 12);
}

static bool table_of_9(void)
{
	return send_table(9, (struct vhost_wire_region[8]){{0, 8192, CLIENT_USER, 0}}, 8);
}

static bool table_of_4_billion(void)
{
	return send_table(UINT32_MAX, (struct vhost_wire_region[8]){{0, 8192, CLIENT_USER, 0}}, 8);
}

static bool memory_that_is_no_file(void)
{
	struct {
		uint32_t count, padding;
		struct vhost_wire_region region;
	} table = {.count = 1, .region = {0, 8192, CLIENT_USER, 0}};
	return client_send(
		&client, VHOST_SET_MEM_TABLE, 0, &table, sizeof table, &client.queues[0].kick, 1);
}

static bool memory_without_the_rings(void)
{
	return send_table(1, (struct vhost_wire_region[8]){{0, 8192, 4096, 0}}, 1);
}

static bool slot_that_overlaps(void)
{
	struct {
		uint64_t padding;
		struct vhost_wire_region region;
	} slot = {.region = {0, 8192, 4096, 0}};
	return client_send(&client, VHOST_ADD_MEM_REG, 0, &slot, sizeof slot, &client.memory_fd, 1);
}

static bool slot_that_is_not_there(void)
{
	struct {
		uint64_t padding;
		struct vhost_wire_region region;
	} slot = {.region = {0, 8192, 4096, 0}};
	return client_send(&client, VHOST_REM_MEM_REG, 0, &slot, sizeof slot, NULL, 0);
}

static bool kick_that_is_a_file(void)
{
	uint64_t index = 0;
	return client_send(
		&client, VHOST_SET_VRING_KICK, 0, &index, sizeof index, &client.memory_fd, 1);
}

static bool call_that_is_a_pipe(void)
{
	uint64_t index = 0;
	int ends[2];
	bool sent = pipe(ends) == 0 && client_send(&client, VHOST_SET_VRING_CALL, 0, &index,
					       sizeof index, &ends[1], 1);
	close(ends[0]);
	close(ends[1]);
	return sent;
}

static bool call_without_an_fd(void)
{
	return client_send_number(&client, VHOST_SET_VRING_CALL, 0);
}

static bool configuration_beyond_its_end(void)
{
	const uint32_t config[] = {1000, 4, 0, 0};
	return client_send(&client, VHOST_GET_CONFIG, 0, config, sizeof config, NULL, 0);
}

static bool configuration_of_another_size(void)
{
	const uint32_t config[] = {0, 200, 0, 0};
	return client_send(&client, VHOST_GET_CONFIG, 0, config, sizeof config, NULL, 0);
}

static bool inflight_of_nothing(void)
{
	const struct vhost_wire_inflight shape = {0};
	return client_send(&client, VHOST_GET_INFLIGHT_FD, 0, &shape, sizeof shape, NULL, 0);
}

static bool inflight_while_served(void)
{
	const struct vhost_wire_inflight shape = {
		.size = 1 << 20, .queues = 1, .queue_size = QUEUE};
	return client_send(
		&client, VHOST_SET_INFLIGHT_FD, 0, &shape, sizeof shape, &client.memory_fd, 1);
}

static bool never_reads(void)
{
	int few = 4096;
	setsockopt(client.socket, SOL_SOCKET, SO_RCVBUF, &few, sizeof few);
	for (unsigned i = 0; i < 100000; i++)
		if (!client_send(&client, VHOST_GET_FEATURES, 0, NULL, 0, NULL, 0))
			return true;
	return false;
}

static const struct vmm_case {
	bool (*send)(void);
	const char *note;
} vmm_cases[] = {
	{version_2, "version 2"},
	{unknown_message, "message 99 is not known"},
	{number_of_no_message, "is not known"},
	{log_of_writes, "message 6 is not known"},
	{too_long, "too long"},
	{too_short, "too short"},
	{ends_in_the_middle, "in the middle of a message"},
	{features_not_offered, "not offered"},
	{protocol_not_offered, "not offered"},
	{queue_that_is_none, "no queue 64"},
	{queue_far_away, "no queue"},
	{size_0, "size 0"},
	{size_100, "size 100"},
	{size_32768, "size 32768"},
	{size_while_served, "while it is served"},
	{base_far_away, "cannot start at"},
	{rings_out_of_memory, "not in the guest's memory"},
	{rings_at_the_end, "not in the guest's memory"},
	{rings_across_regions, "not in the guest's memory"},
	{rings_not_aligned, "not aligned"},
	{guest_addresses_overlap, "overlap"},
	{user_addresses_overlap, "overlap"},
	{region_not_aligned, "whole pages"},
	{offset_not_aligned, "whole pages"},
	{region_of_nothing, "whole pages"},
	{region_longer_than_its_file, "not in their file"},
	{region_beyond_its_file, "not in their file"},
	{region_that_wraps, "beyond all addresses"},
	{table_without_fds, "0 fds"},
	{table_with_too_many_fds, "too many fds"},
	{table_of_9, "9 regions"},
	{table_of_4_billion, "regions"},
	{memory_that_is_no_file, "no file"},
	{memory_without_the_rings, "ring is not in"},
	{slot_that_overlaps, "overlap"},
	{slot_that_is_not_there, "not there"},
	{kick_that_is_a_file, "no eventfd"},
	{call_that_is_a_pipe, "no eventfd"},
	{call_without_an_fd, "0 fds"},
	{configuration_beyond_its_end, "configuration"},
	{configuration_of_another_size, "configuration"},
	{inflight_of_nothing, "impossible"},
	{inflight_while_served, "while a queue is served"},
	{never_reads, "not read"},
};

static void hostile_vmms(void)
{
	start_server();
	for (size_t i = 0; i < ARRAY_SIZE(vmm_cases) && !tap_failed; i++) {
		begin(true);
		CHECK(vmm_cases[i].send());
		CHECK(vhost_server_noted(&server, vmm_cases[i].note));
		if (vmm_cases[i].send != never_reads)
			CHECK(client_ended(&client));
		client_close(&client);
		if (tap_failed)
			printf("# case %zu\n", i);
		CHECK(server.export);
	}
	begin(true);
	check_alive();
	end_server();
}

/* A VMM that stops in the middle of a message holds nobody but itself up. */
static void half_a_message(void)
{
	const uint8_t half[6] = {VHOST_GET_FEATURES};
	struct client other;
	start_server();
	REQUIRE(client_open(&other, server.path, MEMORY, true));
	CHECK(send(other.socket, half, sizeof half, 0) == sizeof half);
	usleep(10000);
	begin(true);
	client_close(&other);
	CHECK(reads_well());
	check_alive();
	end_server();
}

static void random_messages(void)
{
	unsigned random = tap_seed();
	start_server();
	for (unsigned round = 0; round < 300; round++) {
		REQUIRE(client_open(&client, server.path, MEMORY, true));
		for (unsigned i = 0; i < 12; i++) {
			uint64_t payload[36];
			int fds[3] = {client.memory_fd, eventfd(0, 0), client.memory_fd};
			for (unsigned j = 0; j < ARRAY_SIZE(payload); j++)
				payload[j] = rand_r(&random) % 4 ? (unsigned)rand_r(&random) % 4
								 : (uint64_t)rand_r(&random) << 12;
			unsigned first = (unsigned)rand_r(&random) % 2;
			client_send(&client, 1 + (unsigned)rand_r(&random) % 42,
				rand_r(&random) % 2 ? VHOST_NEED_REPLY : 0, payload,
				(unsigned)rand_r(&random) % 20 * 8, fds + first,
				(unsigned)rand_r(&random) % 3);
			close(fds[1]);
		}
		client_close(&client);
	}
	server.notes[0] = 0;
	begin(true);
	check_alive();
	end_server();
}

static void *flood(void *argument)
{
	static const uint32_t owner[3] = {VHOST_SET_OWNER, VHOST_VERSION, 0};
	uint32_t many[4096][3];
	for (unsigned i = 0; i < 4096; i++)
		memcpy(many[i], owner, sizeof owner);
	while (send(client.socket, many, sizeof many, MSG_NOSIGNAL) > 0)
		;
	return NULL;
}

/* The loop has other things to do: here it is to end. */
static void messages_without_end(void)
{
	enum { FLOODS = 4 };
	pthread_t threads[FLOODS];
	start_server();
	begin(true);
	for (unsigned i = 0; i < FLOODS; i++)
		REQUIRE(pthread_create(&threads[i], NULL, flood, NULL) == 0);
	usleep(50000);
	vhost_server_end(&server);
	for (unsigned i = 0; i < FLOODS; i++)
		pthread_join(threads[i], NULL);
	client_close(&client);
}

TEST_MAIN({"hostile messages end their connection", hostile_vmms},
	{"half a message holds nobody up", half_a_message},
	{"messages without end hold up nothing else", messages_without_end},
	{"random messages", random_messages})
