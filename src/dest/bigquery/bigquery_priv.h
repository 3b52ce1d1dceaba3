/* The private parts of the destination "BigQuery".
 *
 * bigquery.c          the table of functions, open and close
 * bigquery_conf.c     options, what goes beyond their table, the target's text
 * bigquery_rules.c    the service's sentences, and what they mean (pure)
 * bigquery_class.c    reasons and statuses -> outcome class (pure)
 * bigquery_wire.c     requests (pure)
 * bigquery_read.c     replies (pure)
 * bigquery_call.c     one call: token, request, class of the answer
 * bigquery_fit.c      the columns of a table against those of an export (pure)
 * bigquery_number.c   a float64 as BigQuery writes it (pure)
 * bigquery_json.c     JSON values as BigQuery's JSON type can keep them (pure)
 * bigquery_row.c      a row as a line of JSON (pure)
 * bigquery_table.c    prepare: dataset, table
 * bigquery_upload.c   a file on its way, piece by piece
 * bigquery_job.c      jobs: by what numbers, made once, waited for; lookup
 * bigquery_load.c     one chunk: rows, upload, job
 * bigquery_careful.c  the same where rows are bad: find them
 * bigquery_stream.c   one chunk in real time: rows, requests of rows
 * bigquery_merge.c    models that change: a table for some hours, MERGE
 * bigquery_quota.c    loads counted, by table and day
 * bigquery_test.c     the steps of "test this connection"
 * bigquery_recount.c  rows present at the table
 */
#ifndef TR_DEST_BIGQUERY_PRIV_H
#define TR_DEST_BIGQUERY_PRIV_H

#include "auth/google.h"
#include "auth/seal.h"
#include "base/time.h"
#include "dest/bigquery/bigquery.h"
#include "encode/compress.h"

#define BQ_API   "https://bigquery.googleapis.com"
#define BQ_SCOPE "https://www.googleapis.com/auth/bigquery"

/* Limits of the service, as its documentation has them; what they are needed for stands there. */
enum {
    BQ_PROJECT_BYTES = 128,
    BQ_ID_BYTES = 1024,  /* of dataset and table */
    BQ_NAME_BYTES = 300, /* of a column */
    BQ_COLUMNS_MAX = 10000,
    BQ_ROW_BYTES = 100 * 1000 * 1000, /* of a line of JSON in a load */
    BQ_JSON_DEPTH = 500,              /* of a value of type JSON */
    BQ_PARTITIONS_A_JOB = 4000,
    BQ_CLUSTER = 4,        /* columns that a table can be clustered by */
    BQ_LOADS_A_DAY = 1500, /* a table */
    BQ_LOADS_WARN = 1200,  /* 80 % of them */
};

/* Of tabledata.insertAll: it takes 10 MB a request and a row, 50,000 rows a request ("Quotas and
 * limits"); smaller ones are as fast and need less memory. */
enum {
    BQ_INSERT_BYTES = 4 * 1000 * 1000, /* a request of more than one row */
    BQ_INSERT_ROW_BYTES = 9 * 1000 * 1000,
    BQ_INSERT_ROWS = 10000,
    BQ_STREAM_TEST_S = 300, /* a table that was just made may take minutes until streams know it */
};

/* Ours. */
enum {
    BQ_ENDPOINT_BYTES = 256,
    BQ_JOB_ID = TR_KEY_TEXT + 64, /* of at most 1,024 characters that BigQuery takes */
    BQ_ATTEMPT = 17,              /* 16 hex digits */
    BQ_TABLE = BQ_ID_BYTES + 64,  /* a table's id with what we add to it */
    BQ_ANSWER_BYTES = 16 << 20,
    BQ_ROW_ERRORS = 100, /* named rows of a failed load that are remembered */
    BQ_RESULT_COLUMNS = 4,
    BQ_PIECE_BYTES = 8 << 20, /* of an upload; a multiple of 256 KiB */
};

/* ---- outcome classes ---- */

enum bq_about {
    BQ_ELSE,
    BQ_THERE,   /* it exists already */
    BQ_GONE,    /* it does not exist */
    BQ_DENIED,  /* a right is missing */
    BQ_TOKEN,   /* the token was refused */
    BQ_TOO_BIG, /* the request */
    BQ_ROWS,    /* some row's values: look for it */
};

enum bq_where { BQ_IN_CALL, BQ_IN_JOB, BQ_IN_STREAM }; /* a stream is a call, too */

struct bq_class {
    enum tr_rc rc;
    enum bq_about about;
    const char *id;
    const char *hint;
    int64_t wait_s; /* TR_THROTTLED */
};

/* What an error says. */
struct bq_said {
    char reason[48];
    char
        message[2800]; /* the names of project, dataset and table stand in it, and then the right */
};

/* A sentence of BigQuery (bigquery_rules.c), and what it means. */
struct bq_rule {
    int where;            /* 1 << enum bq_where, several */
    const char *reason;   /* of ErrorProto, or NULL: any */
    const char *contains; /* in the message, or NULL */
    struct bq_class class;
};
extern const struct bq_rule bq_rules[];
extern const size_t bq_rules_n;

/* status: of the HTTP answer that held the error; 0 for an error of a job. */
struct bq_class bq_classify(enum bq_where where, int status, const char *reason,
                            const char *message);
/* Fills err from a class and what was said. now_us: wall clock. */
enum tr_rc bq_fail(const struct bq_class *c, const char *reason, const char *message,
                   int64_t now_us, struct tr_err *err);

/* What becomes of a row that was streamed and did not go in. */
enum bq_fate {
    BQ_FATE_AGAIN,   /* nothing is wrong with it */
    BQ_FATE_REFUSED, /* its values ("invalid"): a reject */
    BQ_FATE_FAILED,  /* no row can go in now */
};
enum bq_fate bq_row_fate(const struct bq_said *said, struct bq_class *ret);

/* ---- labels of jobs and tables ---- */

#define BQ_LABEL_WHAT     "tailrace"
#define BQ_LABEL_ATTEMPT  "tailrace_attempt"
#define BQ_LABEL_ROWS     "tailrace_rows"
#define BQ_LABEL_REJECTED "tailrace_rejected"
#define BQ_LABEL_REPAIRED "tailrace_repaired"
#define BQ_LABEL_COUNTS   "tailrace_counts"

enum bq_what {
    BQ_WHAT_LOAD,   /* loads a chunk into the table */
    BQ_WHAT_EMPTY,  /* a chunk of no rows: stands for it */
    BQ_WHAT_MERGE,  /* merges a chunk */
    BQ_WHAT_FENCE,  /* stands where a job might still arrive that nobody waits for any more */
    BQ_WHAT_COUNTS, /* holds the counts of a load that had begun before they were known */
    BQ_WHAT_STAGE,  /* loads into a table of some hours */
    BQ_WHAT_PROBE,  /* the same, to find bad rows */
    BQ_WHAT_TEST,
    BQ_WHAT_OTHER,
};
enum { BQ_WHATS = BQ_WHAT_OTHER };
extern const char *const bq_what_names[BQ_WHATS];

/* Rows of a chunk, for whoever asks later. */
struct bq_counts {
    uint64_t delivered, rejected, repaired;
};

struct bq_label {
    enum bq_what what;
    const char *attempt;            /* or NULL */
    const struct bq_counts *counts; /* or NULL */
    bool counts_later;              /* they may change until the load is made */
};

/* ---- replies ---- */

enum bq_job_state { BQ_PENDING, BQ_RUNNING, BQ_DONE };

struct bq_job {
    enum bq_job_state state;
    bool is_failed; /* with said; meaningful when DONE */
    struct bq_said said;
    int64_t created_us; /* Google's clock */
    enum bq_what what;
    char attempt[BQ_ATTEMPT];
    struct bq_counts counts; /* of the labels */
    bool counts_later;
    bool is_load;
    uint64_t output_rows, bad_records; /* of a load */
    uint64_t affected;                 /* of a MERGE */
    size_t n_rows;
    struct {
        int64_t position; /* of the line's first byte in the file */
        char message[256];
    } rows[BQ_ROW_ERRORS]; /* that the errors name */
};

enum bq_type {
    BQ_STRING,
    BQ_JSON,
    BQ_INTEGER,
    BQ_TIMESTAMP,
    BQ_DATETIME,
    BQ_BOOLEAN,
    BQ_FLOAT,
    BQ_NUMERIC,
    BQ_TYPE_OTHER,
};

struct bq_column {
    char name[BQ_NAME_BYTES + 1];
    char type_name[24];
    enum bq_type type;
    bool is_required, is_repeated, has_default;
    int64_t max_length, precision, scale; /* 0: none */
};

enum bq_partition { BQ_NOT_BY_COLUMN, BQ_BY_DAY, BQ_BY_HOUR, BQ_BY_MONTH, BQ_BY_YEAR };

struct bq_table {
    char kind[32];      /* "TABLE", "VIEW", .. */
    int64_t created_us; /* Google's clock; 0: not said */
    bool is_ours;       /* made by this program, to last some hours */
    enum bq_partition partition;
    char partition_column[BQ_NAME_BYTES + 1];
    int64_t partition_life_us; /* BigQuery deletes a partition so long after its start; 0: never */
    int64_t expires_us;        /* when the table deletes itself; 0: never */
    bool requires_filter;      /* on filter_column, of numbers or of times */
    bool filter_is_number;
    char filter_column[BQ_NAME_BYTES + 1];
    struct bq_column *columns;
    size_t n;
};

struct bq_dataset {
    char location[64];
};

/* The first row of a query's result, of numbers. */
struct bq_result {
    bool is_complete;
    char job_id[BQ_JOB_ID * 2]; /* may be BigQuery's own */
    uint64_t number[BQ_RESULT_COLUMNS];
};

/* Empty texts where the body is none of Google's. */
void bq_read_error(struct tr_str body, struct bq_said *ret);
/* These are TR_TRANSIENT "bigquery.bad_answer" when the body is something else. */
TR_MUST_USE enum tr_rc bq_read_job(struct tr_str body, struct bq_job *ret, struct tr_err *err);
TR_MUST_USE enum tr_rc bq_read_dataset(struct tr_str body, struct bq_dataset *ret,
                                       struct tr_err *err);
/* ret is to be released by bq_table_fini, also on failure. */
TR_MUST_USE enum tr_rc bq_read_table(struct tr_str body, struct bq_table *ret, struct tr_err *err);
void bq_table_fini(struct bq_table *t);
/* n: the numbers that the row has. */
TR_MUST_USE enum tr_rc bq_read_result(struct tr_str body, size_t n, struct bq_result *ret,
                                      struct tr_err *err);
/* ret[i] for each number i below n in the list "0,4,17" that is the result's one cell. */
TR_MUST_USE enum tr_rc bq_read_marks(struct tr_str body, size_t n, bool *ret, struct tr_err *err);
/* The answer to rows that were streamed: complain is called for each row that did not go in. */
TR_MUST_USE enum tr_rc bq_read_insert(struct tr_str body, size_t n_rows,
                                      void (*complain)(void *, size_t row, const struct bq_said *),
                                      void *arg, struct tr_err *err);
/* "bytes=0-99" of a 308 -> 100, the first byte that is missing; empty: 0. */
bool bq_read_range(const char *header, uint64_t *ret_next);

/* ---- requests ---- */

struct bq_place {
    const char *project, *dataset, *table;
    char location[64];
};

/* The id of the job with number n for a key. */
const char *bq_job_id(const struct tr_key *key, uint32_t n, char out[BQ_JOB_ID]);
/* text, percent-encoded for a path. */
void bq_path_add(struct tr_buf *out, const char *text);

struct bq_fit;
void bq_write_load(struct tr_buf *out, const struct bq_place *p, const char *id,
                   const struct bq_label *label, const char *table, const struct bq_fit *fit,
                   uint64_t max_bad);
void bq_write_query(struct tr_buf *out, const struct bq_place *p, const char *id,
                    const struct bq_label *label, const char *sql);

/* Rows of a stream: what stands before a row's JSON, behind which comes a '}'; and all of them. */
void bq_write_insert_row(struct tr_buf *out, const struct tr_uuid *uuid, int32_t project);
void bq_write_insert(struct tr_buf *out, const struct tr_str *rows, size_t n);

struct bq_new_table {
    const struct bq_column **columns;
    size_t n;
    const char *partition_column;    /* or NULL */
    const char *cluster[BQ_CLUSTER]; /* columns, the weightiest first */
    size_t n_cluster;
    int64_t expires_us; /* 0: never */
    enum bq_what what;  /* BQ_WHAT_OTHER: no label */
};
void bq_write_table(struct tr_buf *out, const struct bq_place *p, const char *table,
                    const struct bq_new_table *t);

void bq_sql_name(struct tr_buf *out, const char *name);
/* " AND .." for a table t that asks for a filter on its partitions: one that lets all through. */
void bq_sql_any_partition(struct tr_buf *out, const struct bq_table *t);
void bq_sql_table(struct tr_buf *out, const struct bq_place *p, const char *table);

/* ---- fitting ---- */

/* How a value is written. */
enum bq_form {
    BQ_AS_TEXT,
    BQ_AS_JSON,      /* nested */
    BQ_AS_JSON_TEXT, /* as a string that holds it, byte for byte */
    BQ_AS_UUID,
    BQ_AS_INT,
    BQ_AS_INT_TEXT,
    BQ_AS_TIME,
    BQ_AS_DATETIME,
    BQ_AS_BOOL,
    BQ_AS_BOOL_TEXT,
    BQ_AS_FLOAT,
    BQ_AS_FLOAT_TEXT,
    BQ_AS_TEXTS,
};

struct bq_fit_column {
    int column; /* of the schema */
    enum bq_form form;
    const struct bq_column *to;
};

struct bq_fit {
    const struct tr_schema *schema;
    size_t n;
    struct bq_fit_column col[TR_BATCH_COLUMNS];
    int uuid;      /* index into col of the model's first key column, or -1 */
    int partition; /* index into col of the column that says which partition, or -1 */
    enum bq_partition by;
    int64_t life_us; /* of a partition; 0: for ever */
};

/* What a column of the model becomes in a table that is made. */
void bq_fit_new_column(const struct tr_schema *s, int column, const char *name, bool use_json_type,
                       struct bq_column *ret);
/* A name that a column can have. */
bool bq_fit_name_ok(const char *name);

/* ret points into t. TR_REFUSED "bigquery.column_type", "bigquery.column_required",
 * "bigquery.no_common_column", "bigquery.no_key_column", "bigquery.not_a_table". */
TR_MUST_USE enum tr_rc bq_fit(const struct tr_projection *p, const struct bq_table *t,
                              struct bq_fit *ret, struct tr_notice_sink *notices,
                              struct tr_err *err);

/* ---- rows ---- */

enum { BQ_NUMBER = 40 };
/* A finite number as BigQuery writes it, without a NUL; how many characters. */
size_t bq_number(double v, char out[BQ_NUMBER]);

enum bq_json { BQ_JSON_SAME, BQ_JSON_REPAIRED, BQ_JSON_DEEP };

/* Appends one valid JSON value as the type JSON can keep it, in one line. DEEP: out holds a part of
 * it. */
enum bq_json bq_json_add(struct tr_buf *out, struct tr_str json);

/* Writes the rows of one load, whose partitions are counted; or of a stream. */
struct bq_rows {
    const struct bq_fit *fit;
    bool streamed;
    bool few_elements;      /* of $autocapture alone */
    struct tr_buf json;     /* streamed: a value that becomes text */
    struct tr_buf prefixes; /* '{"uuid":' ',"event":' .. back to back */
    size_t prefix_end[TR_BATCH_COLUMNS];
    int64_t days_past, days_future;
    int64_t now_us; /* what has no partition any more at this instant is rejected */
    int64_t *parts;
    uint8_t *used;
    size_t n_parts;
};

TR_MUST_USE enum tr_rc bq_rows_init(struct bq_rows *r, const struct bq_fit *fit, int64_t days_past,
                                    int64_t days_future, struct tr_err *err);
void bq_rows_fini(struct bq_rows *r);

enum { BQ_REASON = 256 };
/* TOO_WIDE: its partition would be one more than a load can have. */
enum bq_row { BQ_ROW_WROTE, BQ_ROW_REPAIRED, BQ_ROW_REJECTED, BQ_ROW_FULL, BQ_ROW_TOO_WIDE };

/* Appends row i as a line; the others leave out as it was, reason says why it is REJECTED. */
enum bq_row bq_row_add(struct bq_rows *r, const struct tr_batch *b, size_t i, struct tr_buf *out,
                       char reason[BQ_REASON]);

/* ---- configuration ---- */

extern const struct tr_option bq_options[];
enum tr_rc bq_conf_validate(const struct tr_conf *c, struct tr_err *err) TR_MUST_USE;
/* iam_endpoint, which gets this server's own token, is named by the operator for that. */
enum tr_rc bq_conf_check_iam(const struct tr_conf *c, struct tr_err *err) TR_MUST_USE;
void bq_conf_target(const struct tr_conf *c, struct tr_buf *out);
/* The key that the options hold; ret_has: there is one. ret is to be released on success. */
TR_MUST_USE enum tr_rc bq_conf_key(const struct tr_conf *c, struct tr_google_key *ret,
                                   bool *ret_has, struct tr_err *err);
const char *bq_conf_project(const struct tr_conf *c, const struct tr_google_key *key);

/* ---- the object ---- */

struct bq_load;

struct bq_dest {
    struct tr_dest base;
    const struct tr_conf *conf; /* valid until close */
    struct tr_google_key key;
    struct tr_google_identity who;
    char *api, *iam; /* endpoints, without a slash at the end */
    struct bq_place place;

    struct tr_http_client *http;
    struct tr_http_answer answer; /* to the last call */
    struct tr_buf url, body;      /* of the call that is being made */

    bool prepared;
    bool absent;                     /* looked for: there is no table */
    struct tr_projection projection; /* names are copies in names */
    char *names;
    struct bq_table table; /* as it was when prepared; fit points into it */
    struct bq_fit fit;
    struct bq_load *load; /* the one that is open, or NULL */
    bool drop_was_refused;
};

struct bq_dest *bq_dest_of(struct tr_dest *d);

/* ---- calls ---- */

/* Begin a URL in d->url. */
enum bq_root { BQ_ROOT_API, BQ_ROOT_UPLOAD };
void bq_url(struct bq_dest *d, enum bq_root root, const char *collection);
/* Adds "/<part>", encoded. */
void bq_url_part(struct bq_dest *d, const char *part);
/* Adds "?name=value" or "&name=value". */
void bq_url_query(struct bq_dest *d, const char *name, const char *value);

struct bq_call {
    const char *method;
    const char *url;     /* NULL: d->url */
    const char *more[3]; /* further headers */
    struct tr_str body;  /* p == NULL: none */
    bool is_safe;        /* made twice it does no more than once: never AMBIGUOUS */
    int other_status;    /* that is no error either; 0: none */
    enum bq_where where; /* how its errors are read */
    int64_t silence_us;  /* see tr_http_call */
};

/* With a token, a new one when it was refused. TR_OK: d->answer is what came. ret_class, when not
 * NULL, tells about an error of the server (about BQ_ELSE for one of the way to it). */
TR_MUST_USE enum tr_rc bq_call(const struct tr_ctx *cx, struct bq_dest *d, const struct bq_call *c,
                               struct bq_class *ret_class, struct tr_err *err);
/* The body that was written to d->body, as JSON, with POST to d->url. */
/* False when the deadline has come or somebody cancelled. */
bool bq_sleep_ms(const struct tr_ctx *cx, int64_t ms);
TR_MUST_USE enum tr_rc bq_post(const struct tr_ctx *cx, struct bq_dest *d, bool is_safe,
                               struct bq_class *ret_class, struct tr_err *err);
TR_MUST_USE enum tr_rc bq_get(const struct tr_ctx *cx, struct bq_dest *d,
                              struct bq_class *ret_class, struct tr_err *err);

static inline struct tr_str bq_answer(const struct bq_dest *d)
{
    return tr_buf_view(&d->answer.body);
}

/* ---- dataset and table ---- */

/* Reads where the dataset is. */
TR_MUST_USE enum tr_rc bq_dataset_read(const struct tr_ctx *cx, struct bq_dest *d,
                                       struct tr_err *err);
void bq_table_url(struct bq_dest *d, const char *table);
/* Into ret (to be released), *ret_found false when there is none. */
TR_MUST_USE enum tr_rc bq_table_read(const struct tr_ctx *cx, struct bq_dest *d, const char *table,
                                     struct bq_table *ret, bool *ret_found, struct tr_err *err);
/* One that exists already is *ret_was_there. */
TR_MUST_USE enum tr_rc bq_table_make(const struct tr_ctx *cx, struct bq_dest *d, const char *table,
                                     const struct bq_new_table *t, bool *ret_was_there,
                                     struct tr_err *err);
/* A table for some hours, with the columns that d->fit fills. */
TR_MUST_USE enum tr_rc bq_table_make_short(const struct tr_ctx *cx, struct bq_dest *d,
                                           const char *table, enum bq_what what,
                                           struct tr_err *err);
/* The columns of a new table, as this export would make it. columns: room for TR_BATCH_COLUMNS. */
TR_MUST_USE enum tr_rc bq_table_columns(const struct bq_dest *d, const struct tr_projection *p,
                                        struct bq_column *columns, const struct bq_column **list,
                                        struct bq_new_table *ret, struct tr_err *err);
enum tr_rc bq_prepare(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_projection *p,
                      tr_column_mask *ret_used, struct tr_notice_sink *notices,
                      struct tr_err *err) TR_MUST_USE;
enum tr_rc bq_look(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_projection *p,
                   struct tr_err *err) TR_MUST_USE;

/* ---- uploads ---- */

/* A file on its way to a load job, in pieces; what was not acknowledged yet is kept, the rest is
 * not. */
struct bq_upload {
    struct bq_dest *d;
    struct tr_buf left; /* bytes that have not arrived */
    uint64_t arrived;   /* bytes that have */
    char *session;      /* its address; NULL: not open */
    bool is_ending;     /* the last piece may have been sent, and made the job */
};

void bq_upload_init(struct bq_upload *u, struct bq_dest *d);
void bq_upload_fini(struct bq_upload *u);
/* Opens it with the job in d->body. */
TR_MUST_USE enum tr_rc bq_upload_open(const struct tr_ctx *cx, struct bq_upload *u,
                                      struct tr_err *err);
/* Sends whole pieces of what is left, down to less than one and more than nothing. */
TR_MUST_USE enum tr_rc bq_upload_pieces(const struct tr_ctx *cx, struct bq_upload *u,
                                        struct tr_err *err);
/* Sends the rest. ret: the job that was made, or (*ret_was_there) that existed under its id, then
 * one that nothing is known of. TR_AMBIGUOUS: nobody knows whether a job was made. */
TR_MUST_USE enum tr_rc bq_upload_finish(const struct tr_ctx *cx, struct bq_upload *u,
                                        struct bq_job *ret, bool *ret_was_there,
                                        struct tr_err *err);

/* ---- jobs ---- */

/* Ended without rows, and for good: its number is spent. */
static inline bool bq_job_is_dead(const struct bq_job *j)
{
    return j->what == BQ_WHAT_FENCE || (j->state == BQ_DONE && j->is_failed);
}

TR_MUST_USE enum tr_rc bq_job_get(const struct tr_ctx *cx, struct bq_dest *d, const char *id,
                                  struct bq_job *ret, bool *ret_found, struct tr_err *err);
/* The same where BigQuery may not say whether there is such a job: a job that is not there has no
 * creator, and who may not see the jobs of others can be told 403 instead of 404. Both are "not
 * found" here: whoever makes the job afterwards hears the truth. */
TR_MUST_USE enum tr_rc bq_job_look(const struct tr_ctx *cx, struct bq_dest *d, const char *id,
                                   struct bq_job *ret, bool *ret_found, struct tr_err *err);
/* Nothing is known of it, except that it exists: as good as waiting. */
void bq_job_unknown(struct bq_job *ret);
/* Makes the job in d->body; an answer that was lost is asked for. ret: the job of that id, made by
 * this call or by another (told by its label). TR_AMBIGUOUS: nobody knows. */
TR_MUST_USE enum tr_rc bq_job_insert(const struct tr_ctx *cx, struct bq_dest *d, const char *id,
                                     struct bq_job *ret, struct tr_err *err);
/* Until it is DONE. n: its number among those of its chunk. TR_AMBIGUOUS "bigquery.job_running" or
 * "bigquery.job_pending" at the deadline. Somebody who cancels has the job cancelled, and
 * TR_CANCELLED unless it ended well before. One that stays PENDING for longer than pending_minutes,
 * twice as long with each number, is cancelled. */
TR_MUST_USE enum tr_rc bq_job_wait(const struct tr_ctx *cx, struct bq_dest *d, const char *id,
                                   uint32_t n, struct bq_job *job, struct tr_err *err);
/* The error of a job that is dead. */
enum tr_rc bq_job_fail(const struct bq_job *job, struct bq_class *ret_class, struct tr_err *err);

/* The highest number under which there is a job for the key: *ret_job and its number, when that is
 * not dead; else the first free number, *ret_live false. */
TR_MUST_USE enum tr_rc bq_job_find(const struct tr_ctx *cx, struct bq_dest *d,
                                   const struct tr_key *key, uint32_t *ret_n, bool *ret_live,
                                   struct bq_job *ret_job, struct tr_err *err);
/* What a job that ended well says of its chunk. */
TR_MUST_USE enum tr_rc bq_job_receipt(const struct tr_ctx *cx, struct bq_dest *d, const char *id,
                                      const struct bq_job *job, struct tr_receipt *ret,
                                      struct tr_err *err);
/* The id of the job that holds the counts of another. */
const char *bq_job_counts_id(const char *id, const char *attempt, char out[BQ_JOB_ID]);
enum tr_rc bq_lookup(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_key *key,
                     enum tr_chunk_state *ret, struct tr_receipt *ret_receipt,
                     struct tr_err *err) TR_MUST_USE;

/* ---- loads ---- */

struct bq_load {
    struct tr_load base;
    struct bq_dest *d;
    struct tr_load_spec spec;
    const struct tr_ctx *cx; /* of the call that is under way */

    uint32_t n; /* number of the job that makes the chunk count */
    char id[BQ_JOB_ID];
    char attempt[BQ_ATTEMPT];
    bool swallow;    /* there is such a job already: rows are ignored */
    char stage[64];  /* models that change: the table that is loaded first; empty: none yet */
    char probe[64];  /* careful: the table that lines are tried in; empty: none yet */
    unsigned probes; /* tries so far */

    struct bq_rows rows;
    struct tr_buf out; /* lines on their way to gzip */
    struct tr_compressor *gzip;
    struct bq_upload up;
    struct bq_counts counts; /* delivered: lines written */
    struct bq_counts told;   /* those that the upload was opened with */
    uint64_t bytes;
    struct bq_job job;
};

enum tr_rc bq_load_begin(const struct tr_ctx *cx, struct tr_dest *dest,
                         const struct tr_load_spec *spec, struct tr_load **ret,
                         struct tr_err *err) TR_MUST_USE;
/* careful: finds the bad rows of a batch, hands the good ones to l->gzip. */
TR_MUST_USE enum tr_rc bq_careful_rows(struct bq_load *l, const struct tr_batch *b,
                                       struct tr_err *err);
enum tr_rc bq_too_wide(struct tr_err *err);
void bq_reject(struct bq_load *l, const struct tr_batch *b, size_t row, const char *reason);

/* ---- streams ---- */

enum tr_rc bq_stream_prepare(const struct tr_ctx *cx, struct tr_dest *dest,
                             const struct tr_projection *p, tr_column_mask *ret_used,
                             struct tr_notice_sink *notices, struct tr_err *err) TR_MUST_USE;
enum tr_rc bq_stream_begin(const struct tr_ctx *cx, struct tr_dest *dest,
                           const struct tr_load_spec *spec, struct tr_load **ret,
                           struct tr_err *err) TR_MUST_USE;
/* The request in d->body. */
TR_MUST_USE enum tr_rc bq_stream_send(const struct tr_ctx *cx, struct bq_dest *d, const char *table,
                                      struct bq_class *ret_class, struct tr_err *err);

/* ---- models that change ---- */

/* The statement (pure). replace: rows of the same version are written anew too. */
void bq_merge_sql(struct tr_buf *sql, const struct bq_place *p, const struct bq_table *t,
                  const struct bq_fit *fit, const char *stage, bool replace);
TR_MUST_USE enum tr_rc bq_merge_stage(struct bq_load *l, struct tr_err *err);
/* Waits for the stage's load and makes the MERGE: l->job is that of the chunk then. */
TR_MUST_USE enum tr_rc bq_merge_commit(const struct tr_ctx *cx, struct bq_load *l,
                                       const char *stage_id, struct tr_err *err);
void bq_merge_drop(const struct tr_ctx *cx, struct bq_load *l);

/* ---- counting again ---- */

/* The statements (pure). @uuids; @p0.. an array for each key, then for each version. */
void bq_recount_sql(struct tr_buf *sql, const struct bq_place *p, const struct bq_table *t,
                    const struct bq_fit *fit, const struct tr_owner *owner);
void bq_recount_rows_sql(struct tr_buf *sql, const struct bq_place *p, const struct bq_table *table,
                         const struct bq_fit *fit);
/* GoogleSQL's name of a parameter that is compared with that column. */
const char *bq_recount_type(const struct bq_fit_column *c);
/* Which of these events are there: ret[i] for each. At most BQ_INSERT_ROWS. */
void bq_which_sql(struct tr_buf *sql, const struct bq_place *p, const struct bq_table *t,
                  const struct bq_fit *fit, const struct tr_owner *owner);
enum tr_rc bq_which(const struct tr_ctx *cx, struct bq_dest *d, const struct tr_owner *owner,
                    const struct tr_uuid *uuids, size_t n, bool *ret,
                    struct tr_err *err) TR_MUST_USE;
enum tr_rc bq_recount(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_owner *owner,
                      const struct tr_key *keys, size_t n_keys, const struct tr_uuid *uuids,
                      size_t n, struct tr_recount *ret, struct tr_err *err) TR_MUST_USE;
enum tr_rc bq_recount_rows(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_batch *b,
                           struct tr_recount *ret, struct tr_err *err) TR_MUST_USE;

/* ---- test steps ---- */

extern const struct tr_dest_test bq_tests[], bq_stream_tests[];
enum tr_rc bq_stream_test(const struct tr_ctx *cx, struct tr_dest *dest,
                          const struct tr_projection *p, size_t step,
                          struct tr_err *err) TR_MUST_USE;
enum tr_rc bq_test(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_projection *p,
                   size_t step, struct tr_err *err) TR_MUST_USE;

/* ---- quotas ---- */

/* Counts a load into the place's table, and tells how many there were within 24 hours. */
void bq_quota_count(const struct bq_place *p, int64_t now_us);
uint64_t bq_quota_today(const struct bq_place *p, int64_t now_us);
/* Takes a turn for a load job of the table, of which there are `most` in 10 seconds: 0, or how long
 * to wait before asking again. boot_us: of the clock that never stands still. */
int64_t bq_quota_turn_us(const struct bq_place *p, int64_t most, int64_t boot_us);

#endif
