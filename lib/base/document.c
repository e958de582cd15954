/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jansson parses; what it does not bound is counted before: it recurses once a level (2048 of them,
 * in 2.14) and takes some 350 bytes for an object of two characters, so that a file of a few MiB
 * could fill a small machine. Brackets, commas and colons outside of strings are the measure.
 *
 * jansson itself refuses: invalid UTF-8, \u0000, integers beyond 64 bits and, asked to, equal keys.
 */
#include "base/document.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static const char *const type_names[] = {
	[JSON_OBJECT] = "an object",
	[JSON_ARRAY] = "an array",
	[JSON_STRING] = "a string",
	[JSON_INTEGER] = "a whole number",
	[JSON_REAL] = "a fraction",
	[JSON_TRUE] = "true",
	[JSON_FALSE] = "false",
	[JSON_NULL] = "null",
};

static int check_bounds(const char *name, const char *text, size_t length, struct ramet_error *err)
{
	if (length > DOCUMENT_BYTES_MAX)
		return error_set(err, E2BIG, "%s has %zu bytes; a description has %zu at most",
			name, length, DOCUMENT_BYTES_MAX);
	size_t values = 1, depth = 0;
	bool in_string = false;
	for (size_t i = 0; i < length; i++) {
		char c = text[i];
		if (in_string) {
			if (c == '\\')
				i++;
			in_string = c != '"';
			continue;
		}
		in_string = c == '"';
		values += c == '[' || c == '{' || c == ',' || c == ':';
		if (c == '[' || c == '{')
			depth++;
		else if ((c == ']' || c == '}') && depth > 0)
			depth--;
		if (depth > DOCUMENT_DEPTH_MAX)
			return error_set(err, E2BIG, "%s is nested more than %d levels deep", name,
				DOCUMENT_DEPTH_MAX);
		if (values > DOCUMENT_VALUES_MAX)
			return error_set(err, E2BIG,
				"%s has more than %d values; no description of an image needs so "
				"many",
				name, DOCUMENT_VALUES_MAX);
	}
	return 0;
}

int document_parse(struct document *document, const char *name, const char *text, size_t length,
	json_type type, struct ramet_error *err)
{
	*document = (struct document){.name = name};
	int r = check_bounds(name, text, length, err);
	if (r < 0)
		return r;
	json_error_t why;
	document->root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
	if (!document->root && json_error_code(&why) == json_error_out_of_memory)
		return error_memory(err);
	if (!document->root) {
		/* It may cite what is there. */
		text_disarm(why.text);
		return error_set(err, EBADMSG, "%s is not sound JSON: line %d: %s", name, why.line,
			why.text);
	}
	if (json_typeof(document->root) == type)
		return 0;
	r = error_set(err, EBADMSG, "%s is %s and must be %s", name,
		type_names[json_typeof(document->root)], type_names[type]);
	document_free(document);
	return r;
}

void document_free(struct document *document)
{
	json_decref(document->root);
	document->root = NULL;
}

struct field field_root(const struct document *document)
{
	return (struct field){.document = document, .value = document->root};
}

/* "manifests[2].digest". A key came from the caller, never from the document. */
static void append_way(const struct field *field, struct text *way)
{
	if (!field->above)
		return;
	append_way(field->above, way);
	if (field->key)
		text_format(way, "%s%s", way->length ? "." : "", field->key);
	else
		text_format(way, "[%zu]", field->index);
}

int field_refuse(
	const struct field *field, int code, struct ramet_error *err, const char *format, ...)
{
	_cleanup_text_ struct text way = {0};
	append_way(field, &way);
	char sentence[1024];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(sentence, sizeof sentence, format, arguments);
	va_end(arguments);
	text_disarm(sentence);
	return error_set(err, code, "%s: %s%s%s", field->document->name, way.data ? way.data : "",
		way.length ? " " : "", sentence);
}

static int check_type(const struct field *field, json_type type, struct ramet_error *err)
{
	json_type is = json_typeof(field->value);
	if (is == type || (type == JSON_TRUE && is == JSON_FALSE))
		return 0;
	return field_refuse(field, EBADMSG, err, "is %s and must be %s", type_names[is],
		type == JSON_TRUE ? "true or false" : type_names[type]);
}

int field_get(const struct field *object, const char *key, json_type type, enum field_need need,
	struct field *field, struct ramet_error *err)
{
	*field = (struct field){object->document, object, key, 0, NULL};
	json_t *value = object->value ? json_object_get(object->value, key) : NULL;
	if (!value || json_is_null(value))
		return need == FIELD_NEEDED ? field_refuse(field, EBADMSG, err, "is missing") : 0;
	field->value = value;
	return check_type(field, type, err);
}

int field_item(const struct field *array, size_t index, json_type type, struct field *field,
	struct ramet_error *err)
{
	*field = (struct field){
		array->document, array, NULL, index, json_array_get(array->value, index)};
	return check_type(field, type, err);
}

size_t field_count(const struct field *array)
{
	return array->value ? json_array_size(array->value) : 0;
}

int field_string(const struct field *object, const char *key, enum field_need need,
	const char **string, struct ramet_error *err)
{
	struct field field;
	int r = field_get(object, key, JSON_STRING, need, &field, err);
	*string = r == 0 && field.value ? json_string_value(field.value) : NULL;
	return r;
}

int field_uint(const struct field *object, const char *key, enum field_need need, uint64_t max,
	uint64_t *number, struct ramet_error *err)
{
	struct field field;
	int r = field_get(object, key, JSON_INTEGER, need, &field, err);
	if (r < 0 || !field.value)
		return r;
	json_int_t value = json_integer_value(field.value);
	if (value < 0 || (uint64_t)value > max)
		return field_refuse(&field, EBADMSG, err,
			"is %" JSON_INTEGER_FORMAT " and must be from 0 to %llu", value,
			(unsigned long long)max);
	*number = (uint64_t)value;
	return 0;
}

int field_bool(const struct field *object, const char *key, bool *value, struct ramet_error *err)
{
	struct field field;
	int r = field_get(object, key, JSON_TRUE, FIELD_OPTIONAL, &field, err);
	if (r == 0 && field.value)
		*value = json_is_true(field.value);
	return r;
}
