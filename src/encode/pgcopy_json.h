/* What PostgreSQL's JSON types refuse in JSON that is otherwise valid. Pure; the bytes must be one
 * valid JSON value (RFC 8259), so a backslash can only stand inside a string.
 */
#ifndef TR_ENCODE_PGCOPY_JSON_H
#define TR_ENCODE_PGCOPY_JSON_H

#include "base/str.h"

/* Replaces, in place, each \u0000 and each escape of an unpaired surrogate by \ufffd (an escape is
 * six bytes either way). True when something was replaced. */
bool tr_pgjson_repair(char *json, size_t n);

/* Every number fits the type numeric, which is what jsonb keeps numbers as: at most 131072 digits
 * before the point and 16383 after it (PostgreSQL documentation, table 8.2). */
bool tr_pgjson_numbers_fit(struct tr_str json);

/* Writes the object with its members in the order in which jsonb keeps them (shorter keys first,
 * equal lengths by bytes), without blanks between them; room for json.n bytes at out. The server
 * sorts what it gets and is some ten percent faster on what is in order; the value is the same.
 * Returns the bytes written, or 0 when it leaves the value to the server: no object, few or many
 * members, an escaped key. Equal keys keep their order, because the last one counts. */
size_t tr_pgjson_sort(struct tr_str json, char *out);

#endif
