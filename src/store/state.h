/* Persons, sessions and groups: what the journal's events make of them, in state.db behind caches.
 *
 * The user (derived.c) holds a lock around everything here, keeps a transaction open that what has
 * changed is written into, and commits it together with the position it stands for. Readers of
 * whole ranges use connections of their own (rows.c) and see what was committed.
 */
#ifndef TR_STORE_STATE_H
#define TR_STORE_STATE_H

#include "base/hash.h"
#include "identity/groups.h"
#include "identity/people.h"
#include "store/asof.h"
#include "store/cache.h"
#include "store/store_sql.h"
#include "store/turns.h"

/* The schema of state.db beside counts. changed: the ingestion instant of the last change. A
 * mapping's is NULL while it is the person's own first one: then the person's says it. */
#define STATE_SCHEMA                                                                               \
    "CREATE TABLE person(id INTEGER PRIMARY KEY, project INTEGER NOT NULL, uuid BLOB NOT NULL,"    \
    " created INTEGER NOT NULL, version INTEGER NOT NULL, changed INTEGER NOT NULL,"               \
    " flags INTEGER NOT NULL, properties TEXT NOT NULL);"                                          \
    "CREATE UNIQUE INDEX person_uuid ON person(project, uuid);"                                    \
    "CREATE INDEX person_changed ON person(project, changed);"                                     \
    "CREATE TABLE mapping(project INTEGER NOT NULL, distinct_id TEXT NOT NULL,"                    \
    " person INTEGER NOT NULL, version INTEGER NOT NULL, changed INTEGER, deleted INTEGER NOT "    \
    "NULL, PRIMARY KEY(project, distinct_id)) WITHOUT ROWID;"                                      \
    "CREATE INDEX mapping_person ON mapping(person) WHERE person <> 0;"                            \
    "CREATE INDEX mapping_changed ON mapping(project, changed) WHERE changed IS NOT NULL;"         \
    "CREATE TABLE session(n INTEGER PRIMARY KEY, project INTEGER NOT NULL, id BLOB NOT NULL,"      \
    " changed INTEGER NOT NULL, record BLOB NOT NULL);"                                            \
    "CREATE UNIQUE INDEX session_id ON session(project, id);"                                      \
    "CREATE INDEX session_changed ON session(project, changed);"                                   \
    "CREATE TABLE group_type(project INTEGER NOT NULL, i INTEGER NOT NULL, name TEXT NOT NULL,"    \
    " PRIMARY KEY(project, i)) WITHOUT ROWID;"                                                     \
    "CREATE TABLE groups(project INTEGER NOT NULL, type INTEGER NOT NULL, key TEXT NOT NULL,"      \
    " created INTEGER NOT NULL, version INTEGER NOT NULL, changed INTEGER NOT NULL,"               \
    " properties TEXT NOT NULL, PRIMARY KEY(project, type, key));"                                 \
    "CREATE INDEX groups_changed ON groups(project, changed);"                                     \
    "CREATE TABLE warning(project INTEGER NOT NULL, type TEXT NOT NULL, day INTEGER NOT NULL,"     \
    " n INTEGER NOT NULL, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL,"                    \
    " distinct_id TEXT NOT NULL, other TEXT NOT NULL,"                                             \
    " PRIMARY KEY(project, type, day)) WITHOUT ROWID;"

struct state;

/* The database, which may be being written to from copies of what has changed (save.h). */
struct state_db {
    sqlite3 *db;
    struct turns *turns; /* to look into it meanwhile */
    /* Before it is changed: nobody else does any more, and a transaction is open. */
    TR_MUST_USE enum tr_rc (*ready)(void *arg, struct tr_err *);
    void *arg;
};

/* cache_bytes: for persons, mappings and sessions together. */
TR_MUST_USE enum tr_rc state_new(const struct state_db *db, size_t cache_bytes, struct state **ret,
                                 struct tr_err *err);
void state_free(struct state *s);

/* Packed events, back to back; asof is told whose each of them was (state_apply.c). */
TR_MUST_USE enum tr_rc state_events(struct state *s, struct tr_str packed, struct asof *asof,
                                    struct tr_err *err);

/* The same of events that were taken apart before. */
struct step;
TR_MUST_USE enum tr_rc state_steps(struct state *s, struct step *steps, size_t n, struct asof *asof,
                                   struct tr_err *err);

/* What a person told the store to do: an event that no client sent (state_command.c). */
extern const char state_delete_person[];
TR_MUST_USE enum tr_rc state_command(struct state *s, struct tr_str packed, struct tr_err *err);

/* Warnings are gathered in memory: there are some, and they are written into the transaction. */
bool state_has_warnings(const struct state *s);
TR_MUST_USE enum tr_rc state_write_warnings(struct state *s, struct tr_err *err);

/* Bytes that are changed and not written. */
size_t state_dirty_bytes(const struct state *s);
/* Copies of them, to be written into the transaction that is open, by whoever. */
TR_MUST_USE enum tr_rc state_copy(struct state *s, struct cache_image *ret_persons,
                                  struct cache_image *ret_sessions, struct tr_err *err);
/* That was done. */
void state_saved(struct state *s);
/* The transaction was undone: nothing that is known holds. */
void state_forget(struct state *s);

/* ---- one at a time, as it is now ---- */

/* The names are copied. */
TR_MUST_USE enum tr_rc state_copy_types(struct state *s, int32_t project, struct tr_arena *names,
                                        struct tr_group_types *ret, struct tr_err *err);

/* A person by one of its distinct ids or by its id; views are valid until the next call. */
TR_MUST_USE enum tr_rc state_find_person(struct state *s, int32_t project,
                                         struct tr_str distinct_id, const struct tr_uuid *id,
                                         struct tr_person *ret, bool *ret_found,
                                         struct tr_err *err);

#endif
