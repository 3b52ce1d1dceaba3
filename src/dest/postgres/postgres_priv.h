/* The private parts of the destination "Postgres".
 *
 * postgres.c          the table of functions, open and close
 * postgres_conf.c     options, what goes beyond their table, the target's text
 * postgres_class.c    SQLSTATE -> outcome class (pure)
 * postgres_conn.c     one connection: connect, run, wait, give up
 * postgres_fit.c      the columns of a table against those of an export (pure)
 * postgres_table.c    prepare: read or create table and ledger
 * postgres_ledger.c   the ledger's rows: insert, counts, lookup
 * postgres_load.c     one chunk: ledger row, COPY, commit
 * postgres_upsert.c   mutable models: a stage, and from it into the table
 * postgres_careful.c  the same where rows are bad: find them one by one
 * postgres_test.c     the steps of "test this connection"
 * postgres_name.c     names that cannot be used, and who else may use the ledger
 * postgres_owner.c    whose rows they are
 * postgres_recount.c  uuids present at the table
 */
#ifndef TR_DEST_POSTGRES_PRIV_H
#define TR_DEST_POSTGRES_PRIV_H

#include <libpq-fe.h>

#include "dest/dest.h"
#include "dest/postgres/postgres.h"
#include "encode/pgcopy.h"
#include "net/http_policy.h"

enum {
    PG_NAME_BYTES = 63,       /* of an identifier; the server cuts longer ones in silence */
    PG_FLUSH_BYTES = 131072,  /* sent at once; more is out of the cache before libpq copies it */
    PG_UUIDS_AT_ONCE = 20000, /* in one array parameter */
    PG_MIN_VERSION = 120000,
};

#define PG_LEDGER "tailrace_ledger"

/* --- outcome classes --- */

enum pg_about {
    PG_ELSE,
    PG_ROWS, /* some row's values: look for it */
    PG_RACE, /* somebody else created the same thing at the same time */
};

struct pg_class {
    enum tr_rc rc;
    enum pg_about about;
    const char *id;
    const char *hint;
};

/* sqlstate: five characters; message: the primary message, for what the code alone does not say. */
struct pg_class pg_classify(const char *sqlstate, const char *message);

/* The same for a connection that was not made. message is libpq's, with verbosity "verbose" (so
 * that it holds the SQLSTATE); cause gets the line that says why. */
struct pg_class pg_classify_connect(const char *message, char *cause, size_t cap);

/* --- fitting --- */

/* A column of the table, from pg_attribute; domains are taken as what they are made of. */
struct pg_column {
    char name[PG_NAME_BYTES + 1];
    char type_name[80]; /* as the server prints it */
    uint32_t type;      /* oid */
    int32_t typmod;
    bool not_null, has_default, generated;
    bool always; /* GENERATED ALWAYS AS IDENTITY: COPY may fill it, INSERT may not */
    bool folds;  /* its collation takes different texts for equal */
};

struct pg_fit {
    struct tr_pgcopy copy;
    const char
        *name[TR_BATCH_COLUMNS]; /* of each column of copy, at the table; into the projection */
    int uuid;                    /* index into copy of the model's first key column, or -1 */
};

/* What a column of the model becomes in a table that is created. */
const char *pg_fit_create_type(const struct tr_schema *s, int column);

/* TR_REFUSED "postgres.column_type", "postgres.column_required", "postgres.no_common_column". */
TR_MUST_USE enum tr_rc pg_fit(const struct tr_projection *p, const struct pg_column *columns,
                              size_t n, struct pg_fit *ret, struct tr_notice_sink *notices,
                              struct tr_err *err);

/* --- the object --- */

struct pg_load;

struct pg_dest {
    struct tr_dest base;
    const struct tr_conf *conf; /* valid until close */
    const char *schema, *table; /* as configured */
    int ca_fd;                  /* a memory file with the CA's certificate, or -1 */

    PGconn *conn;   /* NULL: none */
    bool reused;    /* it has done work before */
    uint64_t spoke; /* notices the server sent */
    uint64_t line;  /* the tuple of a COPY that the last error named, or 0 */

    char *table_sql, *ledger_sql; /* "schema"."name", quoted */

    bool prepared;
    bool absent;                     /* looked for: there is no table */
    bool known_here;                 /* pg_owner_first has nothing against it */
    struct tr_projection projection; /* names are copies in names */
    char *names;
    struct pg_fit fit;
    char *copy_sql; /* COPY .. FROM STDIN; into the stage for mutable models */
    /* mutable models; NULL otherwise */
    char *stage_sql, *upsert_sql, *reupsert_sql, *merged_sql;
    struct tr_buf out;    /* tuples on their way */
    struct pg_load *load; /* the one that is open, or NULL */
};

struct pg_dest *pg_dest_of(struct tr_dest *d);

/* --- configuration --- */

extern const struct tr_option pg_options[];
/* A new export without sslmode checks the server's certificate, unless the server is on this
 * machine or has_self_signed_cert says not to. The table's default, require, is for exports of
 * 0.1.0. */
void pg_conf_settle(json_t *config);
enum tr_rc pg_conf_validate(const struct tr_conf *c, struct tr_err *err) TR_MUST_USE;
void pg_conf_target(const struct tr_conf *c, struct tr_buf *out);

/* Keywords and values for PQconnectStartParams; they point into conf, scratch and static text. */
enum { PG_PARAMS = 32, PG_PARAMS_SCRATCH = 192 };
struct pg_params {
    const char *key[PG_PARAMS], *value[PG_PARAMS];
    size_t n;
    char scratch[PG_PARAMS_SCRATCH];
    char hosts[TR_ADDRESSES * TR_URL_HOST]; /* the host, once for each address */
    char addresses[TR_ADDRESSES * TR_ADDRESS_TEXT];
};
void pg_conf_params(const struct tr_conf *c, int ca_fd, struct pg_params *ret);
/* Has libpq connect to the addresses that the host leads to now, and that the operator allows; the
 * name stays for the certificate's check. net/http_policy.h has the rule. */
TR_MUST_USE enum tr_rc pg_conf_resolve(const struct tr_conf *c, struct pg_params *p,
                                       struct tr_err *err);

/* --- one connection --- */

/* Connects when there is no connection. */
TR_MUST_USE enum tr_rc pg_open(const struct tr_ctx *cx, struct pg_dest *d, struct tr_err *err);

/* Leaves the connection idle: ends a COPY, rolls back a transaction, for at most a second; closes
 * it when that does not work. Cannot fail. */
void pg_reset(struct pg_dest *d);
/* Closes it; asks the server first to stop what it is doing. */
void pg_drop(struct pg_dest *d);

/* Opens a transaction that ends by itself when the deadline passes or this process goes silent.
 * lock_ms: how long to wait for a lock (0: as long as the deadline allows). A connection that turns
 * out to have died since its last use is made anew. */
TR_MUST_USE enum tr_rc pg_begin(const struct tr_ctx *cx, struct pg_dest *d, int64_t lock_ms,
                                struct tr_err *err);

/* The same for a chunk: a statement may take as long as it gets on. The server notices a client
 * that is gone by itself. */
TR_MUST_USE enum tr_rc pg_begin_load(const struct tr_ctx *cx, struct pg_dest *d, int64_t lock_ms,
                                     struct tr_err *err);

/* Runs one statement with text parameters. ret may be NULL; else the caller clears it. The class of
 * a server's error goes to ret_class when that is not NULL. */
TR_MUST_USE enum tr_rc pg_run(const struct tr_ctx *cx, struct pg_dest *d, const char *sql, int n,
                              const char *const *params, PGresult **ret, struct pg_class *ret_class,
                              struct tr_err *err);

/* The answer to what was sent: the last result, or the first error. Same outputs. */
TR_MUST_USE enum tr_rc pg_answer(const struct tr_ctx *cx, struct pg_dest *d, PGresult **ret,
                                 struct pg_class *ret_class, struct tr_err *err);

/* Commits; TR_AMBIGUOUS when the answer is lost. */
TR_MUST_USE enum tr_rc pg_commit(const struct tr_ctx *cx, struct pg_dest *d,
                                 struct pg_class *ret_class, struct tr_err *err);

/* Sends bytes of a COPY, in pieces, waiting for the socket. */
TR_MUST_USE enum tr_rc pg_put(const struct tr_ctx *cx, struct pg_dest *d, const char *p, size_t n,
                              struct tr_err *err);
/* The end of the rows; pg_answer() brings the verdict. */
TR_MUST_USE enum tr_rc pg_put_end(const struct tr_ctx *cx, struct pg_dest *d, struct tr_err *err);
/* The server said something while rows were being sent that was no notice: an error, as a rule. */
bool pg_interrupted(struct pg_dest *d);

/* "the connection broke", with what libpq says. */
enum tr_rc pg_fail_lost(struct pg_dest *d, struct tr_err *err);
/* From a server's error. */
enum tr_rc pg_fail_result(struct pg_dest *d, const PGresult *r, struct pg_class *ret_class,
                          struct tr_err *err);

static inline void pg_result_cleanup(PGresult **r)
{
    PQclear(*r);
}

/* Milliseconds that are left; 0 when there is no deadline, at least 1 otherwise. */
int64_t pg_left_ms(const struct tr_ctx *cx);

/* --- table and ledger --- */

/* Inside a transaction that the caller opened: makes what is missing and fits the projection. */
TR_MUST_USE enum tr_rc pg_table_prepare(const struct tr_ctx *cx, struct pg_dest *d,
                                        const struct tr_projection *p, struct pg_fit *ret,
                                        struct tr_notice_sink *notices, struct pg_class *ret_class,
                                        struct tr_err *err);
/* The schema exists and this user may look into it. */
TR_MUST_USE enum tr_rc pg_table_schema(const struct tr_ctx *cx, struct pg_dest *d,
                                       struct tr_err *err);
enum tr_rc pg_prepare(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_projection *p,
                      tr_column_mask *ret_used, struct tr_notice_sink *notices,
                      struct tr_err *err) TR_MUST_USE;
/* The fit, by reading alone; or d->absent. */
enum tr_rc pg_look(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_projection *p,
                   struct tr_err *err) TR_MUST_USE;
/* Inside the transaction, after a COPY (whose lock keeps the table as it is): the columns are still
 * of the types that the tuples were made for. Binary tuples would not show it: a timestamp is a
 * bigint. */
TR_MUST_USE enum tr_rc pg_table_unchanged(const struct tr_ctx *cx, struct pg_dest *d,
                                          struct tr_err *err);
/* "COPY table (columns) FROM STDIN (FORMAT binary)", or NULL without memory. table is quoted. */
char *pg_table_copy_sql(const char *table, const struct pg_fit *fit);
/* A name quoted for SQL, appended. */
void pg_quote(struct tr_buf *out, const char *name);

extern const char pg_ledger_columns[]; /* of CREATE TABLE */
TR_MUST_USE enum tr_rc pg_ledger_insert(const struct tr_ctx *cx, struct pg_dest *d,
                                        const struct tr_key *key, struct pg_class *ret_class,
                                        struct tr_err *err);
TR_MUST_USE enum tr_rc pg_ledger_finish(const struct tr_ctx *cx, struct pg_dest *d,
                                        const struct tr_key *key, const struct tr_receipt *r,
                                        struct tr_err *err);
/* Outside a transaction: ret->was_there is false when there is no such row. */
TR_MUST_USE enum tr_rc pg_ledger_read(const struct tr_ctx *cx, struct pg_dest *d,
                                      const struct tr_key *key, struct tr_receipt *ret,
                                      struct tr_err *err);
enum tr_rc pg_lookup(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_key *key,
                     enum tr_chunk_state *ret, struct tr_receipt *ret_receipt,
                     struct tr_err *err) TR_MUST_USE;

/* --- names: postgres_name.c --- */

/* TR_REFUSED "postgres.column_name": longer than the server takes, or one of its own. */
TR_MUST_USE enum tr_rc pg_name_check(const struct tr_projection *p, struct tr_err *err);
/* Before a table of this name is created: no type has it. */
TR_MUST_USE enum tr_rc pg_name_free(const struct tr_ctx *cx, struct pg_dest *d, const char *name,
                                    struct tr_err *err);
/* Whoever may create tables in the schema may use the ledger that was made just now. */
TR_MUST_USE enum tr_rc pg_name_share_ledger(const struct tr_ctx *cx, struct pg_dest *d,
                                            struct tr_err *err);

/* --- test steps --- */

extern const struct tr_dest_test pg_tests[];
enum tr_rc pg_test(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_projection *p,
                   size_t step, struct tr_err *err) TR_MUST_USE;

/* --- loads --- */

/* The savepoint of the last attempt, which the next statement leaves. */
enum pg_careful_open { PG_CAREFUL_NONE, PG_CAREFUL_GOOD, PG_CAREFUL_BAD };

struct pg_careful {
    enum pg_careful_open open;
    uint64_t window, since; /* bytes: to try at once; behind the last bad row */
};

struct pg_load {
    struct tr_load base;
    struct pg_dest *d;
    struct tr_load_spec spec;
    struct tr_receipt receipt;
    uint64_t copied; /* tuples of the COPY that is open */
    bool swallow;    /* another attempt delivered this key: rows are ignored */
    bool in_copy, flushed;
    bool staged; /* the stage is there, in this transaction */
    bool alone;  /* nobody else's rows can be met by remove() */
    struct pg_careful careful;
};

enum tr_rc pg_load_begin(const struct tr_ctx *cx, struct tr_dest *dest,
                         const struct tr_load_spec *spec, struct tr_load **ret,
                         struct tr_err *err) TR_MUST_USE;

/* sql ends with the COPY. */
TR_MUST_USE enum tr_rc pg_copy_start(const struct tr_ctx *cx, struct pg_dest *d, const char *sql,
                                     struct tr_err *err);
/* Encodes n rows into the open COPY, those of the list or (NULL) the first n, and sends what has
 * gathered. l->copied counts the tuples. ret_taken is less than n when the server spoke meanwhile,
 * as it does when it refuses a row: what comes then would be for nothing. */
TR_MUST_USE enum tr_rc pg_copy_rows(const struct tr_ctx *cx, struct pg_load *l,
                                    const struct tr_batch *b, const size_t *rows, size_t n,
                                    size_t *ret_taken, struct tr_err *err);
/* Sends the rest and reads the verdict. ret_line, when not NULL, gets the tuple that the server
 * named in its refusal, from 1, or 0. */
TR_MUST_USE enum tr_rc pg_copy_end(const struct tr_ctx *cx, struct pg_load *l,
                                   struct pg_class *ret_class, uint64_t *ret_line,
                                   struct tr_err *err);
void pg_reject(struct pg_load *l, const struct tr_batch *b, size_t row, const char *reason);

/* --- mutable models: postgres_upsert.c --- */

#define PG_STAGE "pg_temp.tailrace_stage"

void pg_array_text(struct tr_buf *out, struct tr_str s);

/* A key that ON CONFLICT can use. TR_REFUSED "postgres.no_primary_key", with the statement that
 * makes one. */
TR_MUST_USE enum tr_rc pg_upsert_check(const struct tr_ctx *cx, struct pg_dest *d,
                                       const struct pg_fit *fit, struct tr_err *err);
/* Makes stage_sql and both forms of upsert_sql; frees old ones. */
TR_MUST_USE enum tr_rc pg_upsert_prepare(struct pg_dest *d, struct tr_err *err);
/* An empty stage, in the transaction that is open. */
TR_MUST_USE enum tr_rc pg_upsert_stage(const struct tr_ctx *cx, struct pg_load *l,
                                       struct tr_err *err);
/* From the stage into the table. */
TR_MUST_USE enum tr_rc pg_upsert_run(const struct tr_ctx *cx, struct pg_load *l,
                                     struct pg_class *ret_class, struct tr_err *err);
enum tr_rc pg_recount_rows(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_batch *b,
                           struct tr_recount *ret, struct tr_err *err) TR_MUST_USE;

TR_MUST_USE enum tr_rc pg_careful_rows(const struct tr_ctx *cx, struct pg_load *l,
                                       const struct tr_batch *b, struct tr_err *err);
/* Before the statement that comes after the rows. */
TR_MUST_USE enum tr_rc pg_careful_end(const struct tr_ctx *cx, struct pg_load *l,
                                      struct tr_err *err);
/* N of "COPY events, line N", or 0. */
uint64_t pg_careful_line(const char *context);

enum tr_rc pg_recount(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_owner *owner,
                      const struct tr_key *keys, size_t n_keys, const struct tr_uuid *uuids,
                      size_t n, struct tr_recount *ret, struct tr_err *err) TR_MUST_USE;
/* --- whose rows: postgres_owner.c --- */

/* Appends what the rows t of the owner have in common, with $2 for the project's number, and sets
 * *ret_n to the number of parameters of the statement. tr_dest_not_own when that cannot be said. */
TR_MUST_USE enum tr_rc pg_owner_sql(const struct pg_dest *d, const struct tr_owner *owner,
                                    struct tr_buf *sql, int *ret_n, struct tr_err *err);
/* Before rows of a mutable model are written: TR_REFUSED when another installation has rows of this
 * project's number in the table and this one is new to it. Their versions say nothing about ours.
 */
TR_MUST_USE enum tr_rc pg_owner_first(const struct tr_ctx *cx, struct pg_dest *d,
                                      const struct tr_load_spec *spec, struct tr_err *err);
/* Before rows are removed: TR_REFUSED when the ledger knows keys of this table and range of which
 * the caller cannot know (another installation's; an export's that spells the place otherwise). */
TR_MUST_USE enum tr_rc pg_owner_alone(const struct tr_ctx *cx, struct pg_dest *d,
                                      const struct tr_key *key, struct tr_err *err);

/* "uuid" or "text": what the table's uuid column is compared as. */
const char *pg_uuid_type(const struct pg_fit *fit);
/* '{uuid,uuid}' of n uuids into out (cleared). */
void pg_uuid_array(struct tr_buf *out, const struct tr_uuid *uuids, size_t n);

#endif
