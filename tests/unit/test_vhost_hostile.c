/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests and VMMs that mean ill. After each of them the same server must serve the next VMM, whose
 * bytes are right. What is told of them is part of the promise: the operator learns why.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "tests/tools/vhost_client.h"
#include "tests/unit/vhost_server.h"

enum { DISK = 1 << 20, MEMORY = 8 << 20, QUEUE = 64 };
#define FEATURES \
	(VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC | VIRTIO_BLK_F_FLUSH)
#define PROTOCOL 0x1ffff

static struct vhost_server server;
static struct client client;

static struct block_device *make_disk(void)
{
	struct block_device *device;
	struct ramet_error err;
	int fd = memfd_create("disk", MFD_CLOEXEC);
	if (ftruncate(fd, DISK) < 0)
		return NULL;
	for (uint64_t i = 0; i < DISK / 512; i++)
		if (pwrite(fd, &i, sizeof i, (off_t)(i * 512)) != sizeof i)
			return NULL;
	return block_file_open(fd, false, &device, &err) < 0 ? NULL : device;
}

static bool reads_well(void)
{
	uint64_t number = 0;
	client.slot_bytes = 4096;
	if (client_do(&client, VIRTIO_BLK_IN, 77, 512) != VIRTIO_BLK_OK)
		return false;
	memcpy(&number, client_data(&client, 0), sizeof number);
	return number == 77;
}

static void begin(bool sealed)
{
	server.notes[0] = 0;
	REQUIRE(client_open(&client, server.path, MEMORY, sealed));
	REQUIRE(client_negotiate(&client, FEATURES, PROTOCOL));
	REQUIRE(client_activate(&client, QUEUE));
	REQUIRE(reads_well());
}

/* The server is as good as before. */
static void check_alive(void)
{
	client_close(&client);
	begin(true);
	client_close(&client);
}

static void start_server(void)
{
	struct block_device *device = make_disk();
	REQUIRE(device && vhost_server_start(&server, device, false));
}

static void end_server(void)
{
	vhost_server_end(&server);
}

/* ------------------------------------------------------------------------------------------- */
/* What a guest can do: rings and descriptors. The queue is not served any more.                 */

static struct client_queue *queue(void)
{
	return &client.queues[0];
}

static void loop_of_descriptors(void)
{
	client_put(&client, 0, 1, VIRTIO_BLK_IN, 0, 512);
	queue()->descriptors[4].next = 3;
}

static void loop_of_one(void)
{
	client_put(&client, 0, 1, VIRTIO_BLK_IN, 0, 512);
	queue()->descriptors[4].next = 4;
}

static void head_beyond_the_table(void)
{
	client_offer(queue(), QUEUE);
}

static void next_beyond_the_table(void)
{
	client_put(&client, 0, 1, VIRTIO_BLK_IN, 0, 512);
	queue()->descriptors[3].next = 60000;
}

static void data_out_of_memory(void)
{
	client_put(&client, 0, 1, VIRTIO_BLK_IN, 0, 512);
	queue()->descriptors[4].address = 100ULL << 40;
}

static void data_in_the_hole(void)
{
	client_put(&client, 0, 1, VIRTIO_BLK_IN, 0, 512);
	queue()->descriptors[4].address = MEMORY / 2 + 4096;
}

static void data_across_the_end(void)
{
	client_put(&client, 0, 1, VIRTIO_BLK_IN, 0, 1024);
	queue()->descriptors[4].address = MEMORY / 2 - 512;
}

static void data_that_wraps(void)
{
	client_put(&client, 0, 1, VIRTIO_BLK_IN, 0, 512);
	queue()->descriptors[4].address = UINT64_MAX - 100;
}

static void state_out_of_memory(void)
{
	client_put(&client, 0, 1, VIRTIO_BLK_IN, 0, 512);
	queue()->descriptors[5].address = UINT64_MAX;
}

static void length_of_4_gib(void)
{
	client_put(&client, 0, 1, VIRTIO_BLK_IN, 0, 512);
	queue()->descriptors[4].length = UINT32_MAX;
}

static void empty_descriptor(void)
{
	client_put(&client, 0, 1, VIRTIO_BLK_IN, 0, 512);
	queue()->descriptors[4].length = 0;
}

static void no_head(void)
{
	client_put(&client, 0, 1, VIRTIO_BLK_IN, 0, 512);
	client.queues[0].descriptors[3].length = 15;
}

static void no_state(void)
{
	client_put(&client, 0, 1, VIRTIO_BLK_OUT, 0, 512);
	queue()->descriptors[4].flags = 0;
}

static void written_before_read(void)
{
	client_put(&client, 0, 1, VIRTIO_BLK_OUT, 0, 512);
	queue()->descriptors[3].flags |= VRING_DESC_WRITE;
}

static void index_jumps(void)
{
	queue()->next += QUEUE + 1;
	queue()->available->index = queue()->next;
}

static void index_goes_back(void)
{
	queue()->next--;
	queue()->available->index = queue()->next;
}

static void indirect_in_indirect(void)
{
	client_put_indirect(&client, 0, 1, VIRTIO_BLK_IN, 0, 512);
	struct vring_descriptor *table = (struct vring_descriptor *)(client.memory +
								     CLIENT_INDIRECT + 64);
	table[1].flags = VRING_DESC_INDIRECT;
}

static void indirect_and_next(void)
{
	client_put_indirect(&client, 0, 1, VIRTIO_BLK_IN, 0, 512);
	queue()->descriptors[3].flags |= VRING_DESC_NEXT;
}

static void indirect_of_half_a_descriptor(void)
{
	client_put_indirect(&client, 0, 1, VIRTIO_BLK_IN, 0, 512);
	queue()->descriptors[3].length = 40;
}

static void indirect_of_nothing(void)
{
	client_put_indirect(&client, 0, 1, VIRTIO_BLK_IN, 0, 512);
	queue()->descriptors[3].length = 0;
}

static void indirect_of_4_gib(void)
{
	client_put_indirect(&client, 0, 1, VIRTIO_BLK_IN, 0, 512);
	queue()->descriptors[3].length = UINT32_MAX - 15;
}

static void indirect_out_of_memory(void)
{
	client_put_indirect(&client, 0, 1, VIRTIO_BLK_IN, 0, 512);
	queue()->descriptors[3].address = MEMORY / 2 - 16;
}

static void indirect_that_loops(void)
{
	client_put_indirect(&client, 0, 1, VIRTIO_BLK_IN, 0, 512);
	struct vring_descriptor *table = (struct vring_descriptor *)(client.memory +
								     CLIENT_INDIRECT + 64);
	table[1].next = 1;
}

static const struct guest_case {
	void (*spoil)(void);
	const char *note;
} guest_cases[] = {
	{loop_of_descriptors, "stands behind what is to be written"},
	{loop_of_one, "circle"},
	{head_beyond_the_table, "beyond the end of its table"},
	{next_beyond_the_table, "beyond the end of its table"},
	{data_out_of_memory, "out of the guest's memory"},
	{data_in_the_hole, "out of the guest's memory"},
	{data_across_the_end, "out of the guest's memory"},
	{data_that_wraps, "out of the guest's memory"},
	{state_out_of_memory, "out of the guest's memory"},
	{length_of_4_gib, "out of the guest's memory"},
	{empty_descriptor, "no bytes"},
	{no_head, "no head"},
	{no_state, "no place for its state"},
	{written_before_read, "stands behind what is to be written"},
	{index_jumps, "more is available"},
	{index_goes_back, "more is available"},
	{indirect_in_indirect, "not the last one"},
	{indirect_and_next, "not the last one"},
	{indirect_of_half_a_descriptor, "length of an indirect table"},
	{indirect_of_nothing, "length of an indirect table"},
	{indirect_of_4_gib, "length of an indirect table"},
	{indirect_out_of_memory, "not in the guest's memory"},
	{indirect_that_loops, "circle"},
};

static void hostile_guests(void)
{
	start_server();
	for (size_t i = 0; i < ARRAY_SIZE(guest_cases) && !tap_failed; i++) {
		begin(true);
		guest_cases[i].spoil();
		eventfd_write(queue()->kick, 1);
		CHECK(vhost_server_noted(&server, guest_cases[i].note));
		/* The queue is dead, the VMM is not: it may reset the device. */
		CHECK_EQ(client_take(&client, 0, 10), -1);
		CHECK(client_send(&client, VHOST_RESET_DEVICE, 0, NULL, 0, NULL, 0));
		client_clear_queue(&client, 0, QUEUE);
		CHECK(client_start_queue(&client, 0, QUEUE, 0));
		CHECK(reads_well());
		client_close(&client);
		if (tap_failed)
			printf("# case %zu\n", i);
	}
	end_server();
}

/* The used ring is ours to write: what the guest puts there changes nothing. */
static void used_index_jumps(void)
{
	start_server();
	begin(true);
	for (unsigned i = 0; i < 200; i++) {
		queue()->used->index = (uint16_t)(i * 7919);
		client_put(&client, 0, 0, VIRTIO_BLK_IN, 77, 512);
		uint16_t before = queue()->seen;
		eventfd_write(queue()->kick, 1);
		for (unsigned j = 0; j < 5000 && *client_state(&client, 0) == 0xff; j++)
			usleep(100);
		CHECK_EQ(*client_state(&client, 0), VIRTIO_BLK_OK);
		usleep(300);
		queue()->seen = (uint16_t)(before + 1);
	}
	check_alive();
	end_server();
}

/* Another thread of the guest writes to the descriptors while they are read. */
static volatile bool racing;

static void *race(void *argument)
{
	uint64_t random = 88172645463325252ULL;
	while (racing) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		struct vring_descriptor *at = &queue()->descriptors[3 + random % 3];
		at->address = random >> 8;
		at->length = (uint32_t)(random >> 40);
		at->flags = (uint16_t)(random >> 20) & 7;
		at->next = (uint16_t)(random >> 5) % 8;
	}
	return NULL;
}

static void descriptors_that_change(void)
{
	pthread_t thread;
	start_server();
	for (unsigned i = 0; i < 50; i++) {
		begin(true);
		racing = true;
		pthread_create(&thread, NULL, race, NULL);
		for (unsigned j = 0; j < 20; j++) {
			client_offer(queue(), 3);
			eventfd_write(queue()->kick, 1);
			client_take(&client, 0, 1);
		}
		racing = false;
		pthread_join(thread, NULL);
		client_close(&client);
	}
	begin(true);
	check_alive();
	end_server();
}

/* ------------------------------------------------------------------------------------------- */
/* What a VMM can do: messages. The connection ends.                                             */

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

/* ------------------------------------------------------------------------------------------- */
/* Memory that vanishes: the file of the guest's memory is cut short under the rings and the data. */

static void rings_vanish(void)
{
	start_server();
	for (unsigned i = 0; i < 3; i++) {
		begin(false);
		CHECK_EQ(ftruncate(client.memory_fd, 0), 0);
		eventfd_write(client.queues[0].kick, 1);
		CHECK(client_ended(&client));
		CHECK(vhost_server_noted(&server, "memory vanished"));
		client_close(&client);
	}
	begin(true);
	check_alive();
	end_server();
}

static void data_vanishes(void)
{
	start_server();
	begin(false);
	CHECK_EQ(ftruncate(client.memory_fd, CLIENT_DATA), 0);
	/* Nobody touches the data but the kernel, who says so. */
	client_put(&client, 0, 0, VIRTIO_BLK_IN, 77, 512);
	client_kick(&client, 0);
	CHECK_EQ(client_take(&client, 0, 5000), 0);
	CHECK_EQ(*client_state(&client, 0), VIRTIO_BLK_IOERR);
	check_alive();
	end_server();
}

/* Whatever we do not watch over raises SIGBUS as ever. */
static void elsewhere(void)
{
	start_server();
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		signal(SIGALRM, SIG_DFL);
		alarm(10);
		int fd = memfd_create("elsewhere", 0);
		volatile char *there = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
		_exit(*there);
	}
	int status = 0;
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGBUS : WEXITSTATUS(status) != 0);
	end_server();
}

/* ------------------------------------------------------------------------------------------- */

/* Random bytes laid over rings, tables and heads, then whatever the guest would do. */
static void mutate(unsigned *random)
{
	static const uint32_t places[] = {
		CLIENT_DESCRIPTORS, CLIENT_AVAILABLE, CLIENT_USED, CLIENT_HEADS, CLIENT_INDIRECT};
	unsigned count = 1 + (unsigned)rand_r(random) % 8;
	for (unsigned i = 0; i < count; i++) {
		uint32_t place = places[(unsigned)rand_r(random) % ARRAY_SIZE(places)];
		uint32_t offset = (unsigned)rand_r(random) % 256;
		uint8_t value = (uint8_t)rand_r(random);
		client.memory[place + offset] = rand_r(random) % 3 ? value : 0xff;
	}
}

static void random_rings(void)
{
	unsigned random = tap_seed();
	start_server();
	for (unsigned round = 0; round < 200; round++) {
		begin(true);
		for (unsigned i = 0; i < 20; i++) {
			static const uint32_t types[] = {0, 0, 1, 4, 8, 11, 13, 99};
			unsigned slot = (unsigned)rand_r(&random) % 20;
			(rand_r(&random) % 2 ? client_put : client_put_indirect)(&client, 0, slot,
				types[(unsigned)rand_r(&random) % 8],
				(unsigned)rand_r(&random) % 4096,
				(unsigned)rand_r(&random) % 8 * 256);
			mutate(&random);
			eventfd_write(queue()->kick, 1);
		}
		client_take(&client, 0, 1);
		client_close(&client);
	}
	end_server();
	start_server();
	begin(true);
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

TEST_MAIN({"hostile rings and descriptors stop their queue, until it is reset", hostile_guests},
	{"what the guest writes to the used ring changes nothing", used_index_jumps},
	{"descriptors that change while they are read", descriptors_that_change},
	{"hostile messages end their connection", hostile_vmms},
	{"half a message holds nobody up", half_a_message},
	{"rings whose memory vanishes end the connection", rings_vanish},
	{"data whose memory vanishes is an I/O error", data_vanishes},
	{"SIGBUS elsewhere is what it was", elsewhere},
	{"random bytes in rings, descriptors and heads", random_rings},
	{"random messages", random_messages})
