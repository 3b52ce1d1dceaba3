/* Single values as JSON text, for encoders whose rows are JSON objects. Pure. */
#ifndef TR_ENCODE_JSON_PUT_H
#define TR_ENCODE_JSON_PUT_H

#include "base/buf.h"
#include "base/uuid.h"

void tr_json_put_int(struct tr_buf *out, int64_t v);
/* "2026-11-21T09:30:00.123456Z", in quotes; t within TR_TIME_MIN..TR_TIME_MAX. */
void tr_json_put_time(struct tr_buf *out, int64_t t);
/* The fewest digits that read back as the same double; v is finite. */
void tr_json_put_float(struct tr_buf *out, double v);
/* In quotes. */
void tr_json_put_uuid(struct tr_buf *out, const struct tr_uuid *u);

#endif
