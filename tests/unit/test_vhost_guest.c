/* SPDX-License-Identifier: Apache-2.0 */
/* Guests that mean ill: rings, descriptors and memory that make no sense. */
#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/vhost_hostile.h"

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
		/* What it reads the rounds before may have written. */
		REQUIRE(is_served(true));
		CHECK_EQ(client_do(&client, VIRTIO_BLK_IN, 77, 512), VIRTIO_BLK_OK);
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

TEST_MAIN({"hostile rings and descriptors stop their queue, until it is reset", hostile_guests},
	{"what the guest writes to the used ring changes nothing", used_index_jumps},
	{"descriptors that change while they are read", descriptors_that_change},
	{"rings whose memory vanishes end the connection", rings_vanish},
	{"data whose memory vanishes is an I/O error", data_vanishes},
	{"SIGBUS elsewhere is what it was", elsewhere},
	{"random bytes in rings, descriptors and heads", random_rings})
