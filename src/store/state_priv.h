/* What the files of state share. */
#ifndef TR_STORE_STATE_PRIV_H
#define TR_STORE_STATE_PRIV_H

#include "identity/session.h"
#include "store/state.h"
#include "store/state_step.h"

struct person_entry {
    struct cache_entry c; /* first */
    int32_t project;
    struct tr_person p; /* its properties are in text */
    uint64_t settled;   /* the hash of the last plain event that it was brought up to; 0: none */
    struct asof_place place;
    char text[];
};

struct mapping_entry {
    struct cache_entry c; /* first */
    int32_t project;
    struct tr_mapping m;
    uint32_t n;
    char distinct_id[];
};

struct known_types {
    int32_t project;
    struct tr_group_types types;
};

enum statement {
    SQL_PERSON_GET,
    SQL_PERSON_BY_ID,
    SQL_PERSON_ADD,
    SQL_PERSON_SET,
    SQL_PERSON_IDS,
    SQL_MAPPING_GET,
    SQL_MAPPING_PUT,
    SQL_MAPPING_MOVE,
    SQL_MAPPING_UNMAP,
    SQL_SESSION_GET,
    SQL_SESSION_ADD,
    SQL_SESSION_SET,
    SQL_GROUP_TYPES,
    SQL_GROUP_TYPE_PUT,
    SQL_GROUP_GET,
    SQL_GROUP_PUT,
    SQL_WARN,
    SQL_WARNINGS,
    SQL_STATEMENTS
};

struct state {
    struct state_db db;
    sqlite3_stmt *sql[SQL_STATEMENTS];
    struct cache_pool pool;
    struct cache persons, mappings, sessions;
    int64_t next_person, next_session;
    struct tr_people people;
    struct tr_groups groups;
    struct tr_session_room *session_room;
    struct known_types *types; /* of every project that was asked for */
    size_t last_types, n_types, cap_types;
    struct gathered_warning *warnings; /* of state_warn.c; those that are not in the database */
    size_t n_warnings;
    struct tr_buf text; /* what the last group or person view points into */
};

static inline uint32_t state_hash(int32_t project, const void *p, size_t n)
{
    return (uint32_t)tr_hash64(p, n, (uint64_t)(uint32_t)project);
}

static inline uint32_t person_hash(int64_t row)
{
    return (uint32_t)tr_hash64(&row, sizeof(row), 0);
}

static inline uint32_t session_hash(const struct session_key *k)
{
    return state_hash(k->project, k->id.b, sizeof(k->id.b));
}

/* A statement that may change state.db, or that reads what such a one may have changed. */
TR_MUST_USE enum tr_rc state_sql(struct state *s, enum statement i, sqlite3_stmt **ret,
                                 struct tr_err *err);
/* One that looks for a row which no cache has; then state_looked. */
sqlite3_stmt *state_look(struct state *s, enum statement i);
void state_looked(struct state *s, sqlite3_stmt *q);

void state_bind_text(sqlite3_stmt *q, int i, struct tr_str s);
struct tr_str state_column_text(sqlite3_stmt *q, int i);

/* ---- state_people.c ---- */

extern const struct tr_people_ops state_people_ops;
extern const struct cache_ops state_person_ops, state_mapping_ops;

/* What a row of "SELECT id, uuid, created, version, changed, flags, properties" says; the view is
 * SQLite's. */
void state_person_of_row(sqlite3_stmt *q, struct tr_person *ret);

/* By row; NULL in *ret: there is none. */
TR_MUST_USE enum tr_rc state_person(struct state *s, int32_t project, int64_t row,
                                    struct person_entry **ret, struct tr_err *err);
/* hash: state_hash of project and distinct_id. */
TR_MUST_USE enum tr_rc state_mapping(struct state *s, int32_t project, struct tr_str distinct_id,
                                     uint32_t hash, struct mapping_entry **ret, struct tr_err *err);

/* ---- state_sessions.c ---- */

extern const struct cache_ops state_session_ops;

/* Applies the event to its session. */
TR_MUST_USE enum tr_rc state_session(struct state *s, const struct tr_event *e,
                                     const struct tr_facts *f, const struct session_key *key,
                                     uint32_t hash, struct tr_err *err);

/* ---- state_groups.c ---- */

extern const struct tr_groups_ops state_groups_ops;
void state_forget_types(struct state *s);

/* ---- state_warn.c ---- */

enum tr_rc state_warn(void *state, int32_t project, const char *type, struct tr_str distinct_id,
                      struct tr_str other, int64_t at, struct tr_err *err) TR_MUST_USE;

#endif
