/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON that came from outside: strict, bounded, and every refusal names the document and the field
 * ("layout/index.json: manifests[2].digest is a number and must be a string").
 */
#ifndef BASE_DOCUMENT_H
#define BASE_DOCUMENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* More than any description of an image needs, and little enough for any machine: so many values
 * take some 40 MiB in memory. */
#define DOCUMENT_BYTES_MAX  ((size_t)4 << 20)
#define DOCUMENT_DEPTH_MAX  64
#define DOCUMENT_VALUES_MAX 100000

struct document {
	json_t *root;
	const char *name; /* for messages; borrowed */
};

/*
 * Parse length bytes. Refused (-EBADMSG, or -E2BIG beyond the limits above): what is no JSON of RFC
 * 8259 in UTF-8, the same key twice in an object, NUL in a string, an integer beyond 64 bits, a root
 * that is not of type. text need not end in NUL.
 */
int document_parse(struct document *document, const char *name, const char *text, size_t length,
	json_type type, struct ramet_error *err);
void document_free(struct document *document);
#define _cleanup_document_ __attribute__((cleanup(document_free)))

/* A value and the way to it. Fields point to each other: those above must outlive those below. */
struct field {
	const struct document *document;
	const struct field *above; /* NULL for the root */
	const char *key;           /* NULL: item index of an array, or the root */
	size_t index;
	json_t *value; /* NULL: it is not there */
};
struct field field_root(const struct document *document);

enum field_need { FIELD_OPTIONAL, FIELD_NEEDED };

/*
 * The member key of an object, of that type. One that is not there, or null, leaves field->value
 * NULL when it is optional and is -EBADMSG when it is needed; so is a value of another type.
 */
int field_get(const struct field *object, const char *key, json_type type, enum field_need need,
	struct field *field, struct ramet_error *err);
/* Item index of an array; it must be of that type. */
int field_item(const struct field *array, size_t index, json_type type, struct field *field,
	struct ramet_error *err);
/* How many items; 0 for one that is not there. */
size_t field_count(const struct field *array);

/* Of a member directly. *string belongs to the document, NULL when it is not there. */
int field_string(const struct field *object, const char *key, enum field_need need,
	const char **string, struct ramet_error *err);
/* A number from 0 to max, not a fraction; *number stays as it is when it is not there. */
int field_uint(const struct field *object, const char *key, enum field_need need, uint64_t max,
	uint64_t *number, struct ramet_error *err);
int field_bool(const struct field *object, const char *key, bool *value, struct ramet_error *err);

/* -code, and "NAME: FIELD " before the sentence. */
int field_refuse(const struct field *field, int code, struct ramet_error *err, const char *format,
	...) __attribute__((format(printf, 4, 5)));

#endif
