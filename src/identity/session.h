/* What is known of a session, kept up event by event.
 *
 * A session is what has one session id in one project; only ids that are UUIDs of version 7 count.
 * Its state is a flat record: relocatable, of bounded size, used in place from a cache and stored
 * as it is. docs/sessions.md has the rules.
 *
 * Events are applied in the order of ingestion, each once: both are the caller's part.
 * Pure; no allocation. A record belongs to one thread.
 */
#ifndef TR_IDENTITY_SESSION_H
#define TR_IDENTITY_SESSION_H

#include "base/arena.h"
#include "identity/facts.h"
#include "model/batch.h"
#include "model/event.h"

enum {
    TR_SESSION_KEPT_URLS = 200,            /* different addresses that are kept .. */
    TR_SESSION_KEPT_URL_BYTES = 32 * 1024, /* .. and their bytes in all */
    TR_SESSION_URL_MAX = 2048,             /* an address is cut here, between characters */
    TR_SESSION_TEXT_MAX = 1024,            /* any other text */
    TR_SESSION_MAX = 64 * 1024 - 8,        /* no record is longer */
    TR_SESSION_SCRATCH = 4 * TR_SESSION_URL_MAX + 32 * TR_SESSION_TEXT_MAX,
};

/* Where tr_session_apply writes; its contents mean nothing before. One per thread. */
struct tr_session_room {
    char record[TR_SESSION_MAX];
    char scratch[TR_SESSION_SCRATCH];
};

enum tr_session_change {
    TR_SESSION_SAME,   /* nothing was changed */
    TR_SESSION_EDITED, /* the record was changed in place; its size is what it was */
    TR_SESSION_BUILT,  /* the new record is in the room; the old one is void */
};

/* The event's session; false when it has none. */
TR_MUST_USE bool tr_session_id(const struct tr_facts *f, struct tr_uuid *ret);

/* Applies an event. record: the session's, sound; NULL when this is its first event. */
enum tr_session_change tr_session_apply(char *record, const struct tr_event *e,
                                        const struct tr_facts *f, struct tr_session_room *room);

/* p[0..n) is a record that this program wrote: for what comes from a disk, before anything else is
 * asked of it. */
TR_MUST_USE bool tr_session_sound(const char *p, size_t n);

/* Of a sound record. */
size_t tr_session_size(const char *record);        /* in bytes */
int64_t tr_session_end(const char *record);        /* timestamp of the latest event */
int64_t tr_session_changed_at(const char *record); /* the row's version, "_inserted_at" */

/* Fills the row of every array that the batch (of tr_schema_sessions) has, flags and inserted_at
 * too. Texts are views into record, or are made in texts; both must live as long as the batch.
 * TR_INTERNAL "session.too_big" when texts is full. */
TR_MUST_USE enum tr_rc tr_session_row(const char *record, int32_t project, const struct tr_uuid *id,
                                      struct tr_batch *b, size_t row, struct tr_arena *texts,
                                      struct tr_err *err);

#endif
