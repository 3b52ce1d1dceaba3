/* Where rows go: the port.
 *
 * Order of calls: open, [test]*, prepare, any number of (begin, [remove]*, write*, commit or abort)
 * and lookup, finish, close. test/contract/dest.c holds every adapter to this:
 *   - committing one key twice, or twice at the same time, leaves one copy of the rows;
 *   - commit() consumes the load, even when it fails; abort() and close() cannot fail;
 *   - ret is set on success only, err on failure only;
 *   - no call logs, sleeps to retry (but test(), where the place needs a moment), or outlives
 *     cx->deadline_us (but a write(), to which each part that gets through gives as long again);
 *     cx->cancelled is looked at often.
 * One object belongs to one thread; several objects of one place may work at once.
 * An adapter never reads files or environment of its own accord: all it knows is in its options.
 */
#ifndef TR_DEST_DEST_H
#define TR_DEST_DEST_H

#include "base/buf.h"
#include "dest/option.h"
#include "model/ctx.h"
#include "model/key.h"
#include "model/projection.h"

enum {
    TR_DEST_COMMITS_CHUNK =
        1 << 0,                   /* a committed chunk is delivered, whatever becomes of the run */
    TR_DEST_COMMITS_RUN = 1 << 1, /* chunks count only once finish() has published them */
    TR_DEST_REPLACES = 1 << 2,    /* rows can be removed: see tr_dest_replaces() */
    TR_DEST_RECOUNTS = 1 << 3,    /* verify --recount works */
    TR_DEST_UPSERTS = 1 << 4,     /* mutable models: one row a key, the newest version of it. A
                                     place without it gets the rows that changed, as they come */
    TR_DEST_TEST_FIRST = 1 << 5,  /* an export is only made when its test steps pass, unless it is
                                     asked for without */
    TR_DEST_KNOWS_ROWS = 1 << 6,  /* real time only: no book of keys, lookup is not asked; a row
                                     that these functions send twice is there once. What was sent
                                     and is not known to be there is sent again, by its own run */
    TR_DEST_OWNS_ROWS = 1 << 7,   /* rows are found by the key they came under, in remove() and
                                     recount(): those of other exports are not met */
};

/* Whose rows an export's are, beside what its keys say: with the same uuids, others may be there.
 * Rows of other exports of the same project are left out by the caller. An adapter looks at rows of
 * this project only, by the column team_id where the place has it and the export fills it; without
 * it, mixed is TR_REFUSED tr_dest_not_own. */
struct tr_owner {
    int32_t project;
    bool mixed; /* exports of other projects have delivered into the same place and range */
};
extern const char tr_dest_not_own[];

/* What a load or a lookup says became of a chunk. */
struct tr_receipt {
    uint64_t delivered; /* rows that are there now because of this key */
    uint64_t rejected;  /* rows the place cannot take */
    uint64_t repaired;  /* rows delivered after a stated change (docs/destinations) */
    uint64_t bytes;     /* sent, about */
    bool was_there;     /* another attempt had committed this key before */
};

enum tr_chunk_state { TR_CHUNK_ABSENT, TR_CHUNK_PRESENT, TR_CHUNK_IN_FLIGHT };

struct tr_dest {
    const struct tr_dest_ops *ops; /* first member of the adapter's struct */
};
struct tr_load {
    const struct tr_load_ops *ops; /* likewise: one chunk on its way */
};

/* err->id of a write() or commit() that failed because the place refused rows it could not name:
 * nothing was committed; begin() again with careful = true and the adapter finds and rejects them.
 */
extern const char tr_dest_rows_refused[];

/* err->id of a write() or commit() that failed because the place cannot take the rows of this chunk
 * at once (or not in time), but could take them as several chunks; TR_TRANSIENT. What was not sent
 * yet is planned in smaller chunks. */
extern const char tr_dest_too_wide[];

/* One line a person may want to read: "table created", "column set is missing". */
struct tr_notice_sink {
    void (*notice)(struct tr_notice_sink *, const char *text);
};

struct tr_load_spec {
    struct tr_key key;
    struct tr_owner owner; /* for remove() */
    bool careful;          /* find bad rows one by one, reject them, go on */
    bool last;             /* the last chunk of its run (a hint) */
    bool replace;          /* TR_DEST_UPSERTS: a row of the same version is written anew too */
    bool again;            /* TR_DEST_KNOWS_ROWS: sent before, and any of its rows may be there */
    struct tr_reject_sink *rejects;
    struct tr_notice_sink *notices; /* may be NULL; valid as long as the load */
};

struct tr_load_ops {
    TR_MUST_USE enum tr_rc (*write)(const struct tr_ctx *, struct tr_load *,
                                    const struct tr_batch *, struct tr_err *);
    /* TR_DEST_REPLACES only, before the first write: rows with these uuids go that are the owner's,
     * in the transaction of this chunk. NULL otherwise. */
    TR_MUST_USE enum tr_rc (*remove)(const struct tr_ctx *, struct tr_load *,
                                     const struct tr_uuid *, size_t n, struct tr_err *);
    TR_MUST_USE enum tr_rc (*commit)(const struct tr_ctx *, struct tr_load *,
                                     struct tr_receipt *ret, struct tr_err *);
    void (*abort)(struct tr_load *);
};

struct tr_dest_test {
    const char *name; /* "Connect to the server" */
    const char *doc;
};

struct tr_recount {
    uint64_t expected, found; /* of the uuids asked for; found counts each once */
    uint64_t copies;          /* rows found beyond one a uuid */
};

struct tr_dest_ops {
    const char *name;                 /* the API's type: "Postgres"; also the docs page */
    uint32_t caps;                    /* TR_DEST_* */
    const struct tr_option *options;  /* ends with name == NULL */
    const struct tr_dest_test *tests; /* ends with name == NULL; may be NULL */
    int64_t test_s;                   /* a step may take so long, waiting included; 0: as most do */
    /* The columns of each model when an export names none. NULL: it does not take that model. */
    const struct tr_default_column *defaults[TR_MODELS];
    /* What a chunk should hold at most; 0: what most places get (delivery.h). */
    uint64_t chunk_rows, chunk_bytes;
    /* Exports may not be scheduled more often; 0: as often as one likes. why: for the person, with
     * the way out. */
    int64_t min_interval_us;
    const char *min_interval_why, *min_interval_hint;
    size_t lanes; /* connections that are used at once at least, where there are chunks for them */
    /* For exports in real time, where they are served in another way: functions of the same name,
     * options, target and objects. NULL: these. */
    const struct tr_dest_ops *live;
    /* Names of events that an export leaves out unless it says what to leave out; ends with NULL;
     * NULL: none. */
    const char *const *left_out;

    /* Checks what goes beyond the option table (combinations). May be NULL. */
    TR_MUST_USE enum tr_rc (*validate)(const struct tr_conf *, struct tr_err *);
    /* Writes into the options of a new export, before anything reads them, what the person left
     * open and where the default of the option table is for older exports only. May be NULL. */
    void (*settle)(json_t *config);
    /* The identity of the place, secrets and credentials left out: "postgres://host:5432/db/schema/
     * table". Two configurations that lead to one place give one text. */
    void (*target)(const struct tr_conf *, struct tr_buf *out);

    /* conf stays valid until close. */
    TR_MUST_USE enum tr_rc (*open)(const struct tr_ctx *, const struct tr_conf *,
                                   struct tr_dest **ret, struct tr_err *);
    /* Runs test step i of tests, for an export of these columns. */
    TR_MUST_USE enum tr_rc (*test)(const struct tr_ctx *, struct tr_dest *,
                                   const struct tr_projection *, size_t step, struct tr_err *);
    /* Reads or creates the place and fits the columns: missing ones there are skipped with a
     * notice; types are checked before the first row. The projection is copied. ret_used: the
     * columns of the schema that batches must have from now on (beside its keys and versions). */
    TR_MUST_USE enum tr_rc (*prepare)(const struct tr_ctx *, struct tr_dest *,
                                      const struct tr_projection *, tr_column_mask *ret_used,
                                      struct tr_notice_sink *, struct tr_err *);
    /* In place of prepare, for recount only: makes nothing, changes nothing, needs no right but to
     * read. A place that is gone holds none of the rows; it is no error. May be NULL: then prepare
     * is called. */
    TR_MUST_USE enum tr_rc (*look)(const struct tr_ctx *, struct tr_dest *,
                                   const struct tr_projection *, struct tr_err *);
    TR_MUST_USE enum tr_rc (*begin)(const struct tr_ctx *, struct tr_dest *,
                                    const struct tr_load_spec *, struct tr_load **ret,
                                    struct tr_err *);
    /* What became of a key. Waits for a transaction of it that is still in flight there (until the
     * deadline: then IN_FLIGHT). ret_receipt is set when PRESENT. */
    TR_MUST_USE enum tr_rc (*lookup)(const struct tr_ctx *, struct tr_dest *, const struct tr_key *,
                                     enum tr_chunk_state *ret, struct tr_receipt *ret_receipt,
                                     struct tr_err *);
    /* Publishes a run: key.range is the run's, chunks are the keys that were committed, in order
     * (the manifest). May be called again with the same arguments. NULL when there is nothing to
     * do. */
    TR_MUST_USE enum tr_rc (*finish)(const struct tr_ctx *, struct tr_dest *,
                                     const struct tr_key *run, const struct tr_key *chunks,
                                     const struct tr_receipt *receipts, size_t n, struct tr_err *);
    /* TR_DEST_COMMITS_RUN: has a finish() of that run published the chunk? lookup() tells only
     * whether it was written. NULL otherwise. */
    TR_MUST_USE enum tr_rc (*published)(const struct tr_ctx *, struct tr_dest *,
                                        const struct tr_key *run, const struct tr_key *chunk,
                                        bool *ret, struct tr_err *);
    /* TR_DEST_RECOUNTS: how many of these events are there. keys are the delivered chunks that hold
     * them. */
    TR_MUST_USE enum tr_rc (*recount)(const struct tr_ctx *, struct tr_dest *,
                                      const struct tr_owner *, const struct tr_key *keys,
                                      size_t n_keys, const struct tr_uuid *uuids, size_t n,
                                      struct tr_recount *ret, struct tr_err *);
    /* Both RECOUNTS and UPSERTS: of these rows of a mutable model, how many are there in this
     * version or a newer one. The batch has keys and versions. NULL otherwise. */
    TR_MUST_USE enum tr_rc (*recount_rows)(const struct tr_ctx *, struct tr_dest *,
                                           const struct tr_batch *, struct tr_recount *ret,
                                           struct tr_err *);
    void (*close)(struct tr_dest *);
};

static inline const struct tr_dest_ops *tr_dest_for(const struct tr_dest_ops *ops, bool is_live)
{
    return is_live && ops->live != NULL ? ops->live : ops;
}

/* on_delivered: replace works for rows of that model: by removing them, or because they are updated
 * by key anyway. */
static inline bool tr_dest_replaces(const struct tr_dest_ops *ops, const struct tr_schema *schema)
{
    return (ops->caps &
            (schema->is_mutable ? TR_DEST_UPSERTS | TR_DEST_REPLACES : TR_DEST_REPLACES)) != 0;
}

#endif
