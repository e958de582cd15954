/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshake: fixed newstyle. A client asks for options, one after the other, until one of them
 * (EXPORT_NAME, GO) begins the transmission. What is not known here is refused in the way that lets the
 * client go on, TLS and extended headers among it; what breaks the protocol ends the connection.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "export/nbd_inside.h"
#include "export/nbd_protocol.h"

#define CONTEXT      "base:allocation"
#define CONTEXT_ID   1
#define SPACE        "base:"
#define UNSENT_BYTES ((size_t)64 << 10) /* of answers to a client that asks and does not read */
#define SKIPPED_MOST ((uint32_t)1 << 20)

/* What an option came with. */
struct question {
	struct nbd_connection *connection;
	uint32_t option;
	const uint8_t *data;
	size_t length;
};

static void answer(const struct question *question, uint32_t type, const void *data, size_t length)
{
	uint8_t header[NBD_OPTION_REPLY_HEADER];
	uint8_t *at = nbd_put64(header, NBD_OPTION_REPLY_MAGIC);
	at = nbd_put32(at, question->option);
	at = nbd_put32(at, type);
	nbd_put32(at, (uint32_t)length);
	text_append_bytes(&question->connection->greeting, header, sizeof header);
	text_append_bytes(&question->connection->greeting, data, length);
}

static int acknowledge(const struct question *question)
{
	answer(question, NBD_REP_ACK, "", 0);
	return 1;
}

static int refuse(const struct question *question, uint32_t type, const char *why)
{
	answer(question, type, why, strlen(why));
	return 1;
}

/* Take a string that stands behind its length. false: it is not whole. */
static bool take_string(struct question *question, const char **string, size_t *length)
{
	if (question->length < 4)
		return false;
	*length = nbd_get32(question->data);
	if (*length > question->length - 4)
		return false;
	*string = (const char *)question->data + 4;
	question->data += 4 + *length;
	question->length -= 4 + *length;
	return true;
}

/* The empty name is the first export. */
static const struct export_device *find(
	const struct nbd_connection *c, const char *name, size_t length)
{
	const struct nbd_server *server = c->server;
	if (length == 0)
		return &server->devices[0];
	for (size_t i = 0; i < server->device_count; i++) {
		const char *known = server->devices[i].name;
		if (strlen(known) == length && memcmp(known, name, length) == 0)
			return &server->devices[i];
	}
	return NULL;
}

uint16_t nbd_export_flags(const struct nbd_connection *c, const struct export_device *export)
{
	const struct block_device *device = export->device;
	unsigned flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA |
			 NBD_FLAG_CAN_MULTI_CONN;
	if (c->structured)
		flags |= NBD_FLAG_SEND_DF;
	if (device->read_only || !device->ops->prepare_write)
		return (uint16_t)(flags | NBD_FLAG_READ_ONLY);
	flags |= NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
	if (device->ops->discard)
		flags |= NBD_FLAG_SEND_TRIM;
	return (uint16_t)flags;
}

static void begin_transmission(struct nbd_connection *c, const struct export_device *device)
{
	c->device = device;
	c->meta = c->meta && c->meta_device == device;
	c->consume = nbd_consume_request;
}

/* ------------------------------------------------------------------------------------------- */

static int export_name(struct question *question)
{
	struct nbd_connection *c = question->connection;
	const struct export_device *device = find(
		c, (const char *)question->data, question->length);
	uint8_t reply[8 + 2 + 124] = {0};
	if (!device) {
		/* There is no other way to say so. */
		nbd_connection_drop(c, "it asked for an export that there is not");
		return -1;
	}
	nbd_put16(nbd_put64(reply, device->device->size), nbd_export_flags(c, device));
	text_append_bytes(&c->greeting, reply, c->no_zeroes ? 8 + 2 : sizeof reply);
	begin_transmission(c, device);
	return 1;
}

static int abort_handshake(struct question *question)
{
	acknowledge(question);
	question->connection->ending = true;
	return 1;
}

static int list(struct question *question)
{
	const struct nbd_server *server = question->connection->server;
	if (question->length)
		return refuse(question, NBD_REP_ERR_INVALID, "LIST takes no data");
	for (size_t i = 0; i < server->device_count; i++) {
		uint8_t entry[4 + NBD_NAME_BYTES];
		size_t length = MIN(strlen(server->devices[i].name), NBD_NAME_BYTES);
		nbd_put_bytes(nbd_put32(entry, (uint32_t)length), server->devices[i].name, length);
		answer(question, NBD_REP_SERVER, entry, 4 + length);
	}
	return acknowledge(question);
}

static void tell_name(const struct question *question, const char *name)
{
	uint8_t info[2 + NBD_NAME_BYTES];
	size_t length = MIN(strlen(name), NBD_NAME_BYTES);
	nbd_put_bytes(nbd_put16(info, NBD_INFO_NAME), name, length);
	answer(question, NBD_REP_INFO, info, 2 + length);
}

static void tell_export(const struct question *question, const struct export_device *device)
{
	uint8_t info[2 + 8 + 2], *at;
	uint16_t flags = nbd_export_flags(question->connection, device);
	at = nbd_put64(nbd_put16(info, NBD_INFO_EXPORT), device->device->size);
	nbd_put16(at, flags);
	answer(question, NBD_REP_INFO, info, sizeof info);
	uint8_t sizes[2 + 3 * 4];
	at = nbd_put16(sizes, NBD_INFO_BLOCK_SIZE);
	at = nbd_put32(at, flags & NBD_FLAG_READ_ONLY ? 1 : NBD_SECTOR);
	at = nbd_put32(at, NBD_MEMORY_LEAST);
	nbd_put32(at, NBD_MEMORY_MOST);
	answer(question, NBD_REP_INFO, sizes, sizeof sizes);
}

/* INFO and GO: a name, and which facts are wanted of the export. */
static int information(struct question *question)
{
	const char *name;
	size_t length, wanted;
	struct nbd_connection *c = question->connection;
	if (!take_string(question, &name, &length) || question->length < 2 ||
		question->length - 2 != (wanted = nbd_get16(question->data)) * 2)
		return refuse(question, NBD_REP_ERR_INVALID, "lengths that do not fit");
	const struct export_device *device = find(c, name, length);
	if (!device)
		return refuse(question, NBD_REP_ERR_UNKNOWN, "there is no such export");
	tell_export(question, device);
	for (size_t i = 0; i < wanted; i++)
		if (nbd_get16(question->data + 2 + i * 2) == NBD_INFO_NAME) {
			tell_name(question, device->name);
			break;
		}
	if (question->option == NBD_OPT_GO)
		begin_transmission(c, device);
	return acknowledge(question);
}

static int structured_reply(struct question *question)
{
	if (question->length)
		return refuse(question, NBD_REP_ERR_INVALID, "STRUCTURED_REPLY takes no data");
	question->connection->structured = true;
	return acknowledge(question);
}

static void tell_context(const struct question *question, uint32_t id)
{
	uint8_t context[4 + sizeof CONTEXT - 1];
	nbd_put_bytes(nbd_put32(context, id), CONTEXT, sizeof CONTEXT - 1);
	answer(question, NBD_REP_META_CONTEXT, context, sizeof context);
}

static bool is(const char *known, const char *string, size_t length)
{
	return strlen(known) == length && memcmp(known, string, length) == 0;
}

/* LIST_META_CONTEXT and SET_META_CONTEXT: a name, and queries. A list of everything has none. */
static int contexts(struct question *question)
{
	const char *name, *query;
	size_t length;
	struct nbd_connection *c = question->connection;
	bool lists = question->option == NBD_OPT_LIST_META_CONTEXT, found = false;
	if (!lists)
		c->meta = false;
	if (!c->structured)
		return refuse(question, NBD_REP_ERR_INVALID, "STRUCTURED_REPLY comes first");
	if (!take_string(question, &name, &length) || question->length < 4)
		return refuse(question, NBD_REP_ERR_INVALID, "lengths that do not fit");
	const struct export_device *device = find(c, name, length);
	if (!device)
		return refuse(question, NBD_REP_ERR_UNKNOWN, "there is no such export");
	uint32_t count = nbd_get32(question->data);
	question->data += 4;
	question->length -= 4;
	found = lists && count == 0;
	for (; count; count--) {
		if (!take_string(question, &query, &length))
			break;
		found |= is(CONTEXT, query, length) || (lists && is(SPACE, query, length));
	}
	if (count || question->length)
		return refuse(question, NBD_REP_ERR_INVALID, "lengths that do not fit");
	if (found)
		tell_context(question, lists ? 0 : CONTEXT_ID);
	if (found && !lists) {
		c->meta = true;
		c->meta_device = device;
	}
	return acknowledge(question);
}

static const struct {
	uint32_t option;
	int (*take)(struct question *question);
} options[] = {
	{NBD_OPT_EXPORT_NAME, export_name},
	{NBD_OPT_ABORT, abort_handshake},
	{NBD_OPT_LIST, list},
	{NBD_OPT_INFO, information},
	{NBD_OPT_GO, information},
	{NBD_OPT_STRUCTURED_REPLY, structured_reply},
	{NBD_OPT_LIST_META_CONTEXT, contexts},
	{NBD_OPT_SET_META_CONTEXT, contexts},
};

static int take(struct question *question)
{
	if (!question->connection->fixed && question->option != NBD_OPT_EXPORT_NAME) {
		nbd_connection_drop(
			question->connection, "it speaks another handshake than fixed newstyle");
		return -1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (options[i].option == question->option)
			return options[i].take(question);
	return refuse(question, NBD_REP_ERR_UNSUP, "there is no such option here");
}

static int consume_option(struct nbd_connection *c)
{
	size_t there = c->end - c->begin;
	if (there < NBD_OPTION_HEADER || c->greeting.length > UNSENT_BYTES)
		return 0;
	const uint8_t *header = c->input + c->begin;
	struct question question = {.connection = c,
		.option = nbd_get32(header + 8),
		.data = header + NBD_OPTION_HEADER,
		.length = nbd_get32(header + 12)};
	if (nbd_get64(header) != NBD_OPTION_MAGIC || question.length > SKIPPED_MOST) {
		nbd_connection_drop(c, "its handshake is garbage");
		return -1;
	}
	if (question.length > NBD_INPUT_BYTES - NBD_OPTION_HEADER) {
		c->begin += NBD_OPTION_HEADER;
		c->skip = question.length;
		return refuse(&question, NBD_REP_ERR_TOO_BIG, "so much data is no option's");
	}
	if (there < NBD_OPTION_HEADER + question.length)
		return 0;
	c->begin += NBD_OPTION_HEADER + question.length;
	return take(&question);
}

static int consume_flags(struct nbd_connection *c)
{
	if (c->end - c->begin < 4)
		return 0;
	uint32_t flags = nbd_get32(c->input + c->begin);
	c->begin += 4;
	if (flags & ~(uint32_t)(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)) {
		nbd_connection_drop(c, "its handshake has unknown flags");
		return -1;
	}
	c->fixed = flags & NBD_FLAG_FIXED_NEWSTYLE;
	c->no_zeroes = flags & NBD_FLAG_NO_ZEROES;
	c->consume = consume_option;
	return 1;
}

void nbd_greet(struct nbd_connection *c)
{
	uint8_t hello[8 + 8 + 2];
	uint8_t *at = nbd_put64(nbd_put64(hello, NBD_MAGIC), NBD_OPTION_MAGIC);
	nbd_put16(at, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	text_append_bytes(&c->greeting, hello, sizeof hello);
	c->consume = consume_flags;
}
