/* Test doubles of the ports around delivery: a source and a destination in memory, and metadata
 * that can die. One script says what goes wrong at which call, so that every failure can be told
 * exactly.
 */
#ifndef TEST_FAKES_H
#define TEST_FAKES_H

#include "delivery/delivery.h"

/* ---- what goes wrong ---- */

enum fake_op {
    FAKE_OPEN,
    FAKE_BEGIN,
    FAKE_REMOVE,
    FAKE_WRITE,
    FAKE_COMMIT,
    FAKE_LOOKUP,
    FAKE_FINISH,
    FAKE_PLAN,
    FAKE_READ,
    FAKE_META,
    FAKE_OPS
};

enum fake_fault {
    FAKE_FINE,
    FAKE_TRANSIENT,
    FAKE_THROTTLED,
    FAKE_REFUSED,
    FAKE_AMBIGUOUS_DONE,  /* committed, but the answer was lost */
    FAKE_AMBIGUOUS_NOT,   /* not committed, and the answer was lost */
    FAKE_AMBIGUOUS_LATER, /* committed, and seen as in flight by the next lookup */
    FAKE_CANCEL,          /* somebody cancels during the call, which goes well */
    FAKE_DIE,             /* the process dies before the call has an effect */
    FAKE_DIE_DONE,        /* the process dies after the call had its effect */
};

struct fake_script {
    /* The next fault of an op; counts calls. */
    enum fake_fault (*next)(struct fake_script *, enum fake_op op);
    int calls[FAKE_OPS];
    /* for fake_once: */
    enum fake_op op;
    int nth; /* from 1 */
    enum fake_fault fault;
    /* for fake_chance: */
    uint64_t random;
    unsigned per_mille;
};

void fake_never(struct fake_script *s);
void fake_once(struct fake_script *s, enum fake_op op, int nth, enum fake_fault fault);
void fake_chance(struct fake_script *s, uint64_t seed, unsigned per_mille);
uint64_t fake_random(uint64_t *state);

/* ---- the source ---- */

struct fake_event {
    int64_t at;
    int32_t project;
    struct tr_uuid uuid;
    int kind; /* event name "kind-<n>" */
};

struct fake_source {
    struct tr_source base;
    struct fake_event *events; /* by at */
    size_t n, cap;
    int64_t now, floor;
    size_t batch_rows;
    bool never_closes;
};

/* Adds an event at now or after the last one; bad: the destination will not take it. */
void fake_ingest(struct fake_source *s, int32_t project, int kind, bool bad);
bool fake_is_bad(const struct tr_uuid *u);

/* ---- the destination ---- */

struct fake_row {
    struct tr_uuid uuid;
    char chunk[TR_KEY_TEXT]; /* the key it came with */
    bool is_live;            /* published, where the run commits */
};

struct fake_entry {
    char key[TR_KEY_TEXT];
    struct tr_receipt receipt;
    bool is_published;
    int in_flight; /* lookups that still see it under way */
};

struct fake_place {
    char name[32];
    struct fake_row *rows;
    size_t n, cap;
    struct fake_entry *ledger;
    size_t n_ledger, cap_ledger;
    int prepared, opened, open_now, loads_at_once, most_loads;
};

extern const struct tr_dest_ops fake_table_ops;  /* "Table": commits chunks, replaces, recounts */
extern const struct tr_dest_ops fake_folder_ops; /* "Folder": commits runs */

/* ---- all of it ---- */

enum { FAKE_PLACES = 4 };

struct fakes {
    struct fake_script script;
    struct fake_source source;
    struct fake_place places[FAKE_PLACES];
    size_t n_places;
    struct tr_meta *meta;
    struct tr_meta_ops mortal; /* meta's verbs, which fail once dead */
    const struct tr_meta_ops *real;
    struct tr_keyring *keys;
    struct tr_delivery delivery;
    atomic_bool cancelled;
    bool dead;
    bool noisy;
    char dir[64];
    uint8_t n_exports;
    const char *refusal; /* its id; NULL: fake.refused */
    const char *awaited; /* by fakes_wait_for_lines, and how many held it */
    int awaited_lines;
    char last_line[1024];
};

extern struct fakes fakes; /* one at a time: the ports' callbacks have no other way to it */

void fakes_open(void);
void fakes_close(void);
/* The process is gone and started again: what was in flight has its end. */
void fakes_revive(void);

/* Waits until so many lines for people held this text (fakes.awaited, set before); false after 60
 * s. */
bool fakes_wait_for_lines(const char *part, int times);

struct fake_place *fake_place(const char *name);
size_t fake_live(const struct fake_place *p, const struct tr_uuid *u);
void fake_remove_one(struct fake_place *p, const struct tr_uuid *u);

/* An export from the API's body with secrets {"token": ...}; the id. */
struct tr_uuid fake_export(const char *body);
void fake_export_update(const struct tr_uuid *id, const char *body);
/* {"interval": interval, "destination": {type, place, connections}, more}; static text. */
const char *fake_body(const char *interval, const char *type, const char *place, int connections,
                      const char *more);

#endif
