/* One chunk in real time: rows go out in requests of tabledata.insertAll.
 *
 * BigQuery keeps no book of chunks here. A row is there once because it goes under the event's uuid
 * as insertId, which BigQuery remembers for at least a minute or so. A chunk of whose end nobody
 * heard is sent again as a whole; when it may have been sent longer ago than that, the table is
 * asked first which of its rows it has. The answer to a request names each row that did not go in
 * (skipInvalidRows: the others did): a row that is bad is rejected with what is said of it, a row
 * that was merely stopped is sent again, alone.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/metric.h"
#include "base/time.h"
#include "dest/bigquery/bigquery_priv.h"
#include "os/clock.h"
#include "os/kill.h"

TR_COUNTER(streamed, "tailrace_bigquery_streamed_rows_total",
           "Rows that BigQuery took one by one.");
TR_COUNTER(again, "tailrace_bigquery_streamed_again_total",
           "Rows that were sent again because BigQuery had not taken them.");

enum {
    TEXT_MAX = BQ_INSERT_BYTES + BQ_ROW_BYTES + (32 << 20), /* the last row may be any */
    SILENCE_S = 15, /* rows are recognised for a minute: soon enough to send them again */
    REMEMBERED_S = 30,
    KEEP_BYTES = 3 * BQ_INSERT_BYTES, /* a row that was larger gives its memory back */
};

/* A row that waits, or is on its way. */
struct held {
    size_t at, n; /* in text */
    bool repaired;
    enum { IN, AGAIN, REFUSED } verdict;
};

struct stream {
    struct tr_load base;
    struct bq_dest *d;
    struct tr_load_spec spec;
    const struct tr_ctx *cx; /* of the call that is under way */

    struct bq_rows rows;
    struct tr_buf text;
    struct held held[BQ_INSERT_ROWS];
    uint32_t order[BQ_INSERT_ROWS]; /* those that are sent now, in parts */
    bool asks, there[BQ_INSERT_ROWS];
    struct tr_str views[BQ_INSERT_ROWS];
    struct tr_uuid uuids[BQ_INSERT_ROWS]; /* what a reject needs to know of them */
    int64_t inserted_at[BQ_INSERT_ROWS];
    struct tr_batch batch; /* these two */
    size_t n;
    struct tr_receipt receipt;
};

static const struct tr_load_ops stream_ops;

static struct stream *stream_of(struct tr_load *l)
{
    assert(l->ops == &stream_ops);
    return (struct stream *)(void *)l;
}

static void stream_free(struct stream *s)
{
    bq_rows_fini(&s->rows);
    tr_buf_fini(&s->text);
    free(s);
}

static void reject(struct stream *s, const struct tr_batch *b, size_t row, const char *reason)
{
    s->receipt.rejected++;
    if (s->spec.rejects != NULL)
        s->spec.rejects->reject(s->spec.rejects, b, row, reason);
}

/* ---- requests ---- */

enum tr_rc bq_stream_send(const struct tr_ctx *cx, struct bq_dest *d, const char *table,
                          struct bq_class *ret_class, struct tr_err *err)
{
    struct bq_call c = { .method = "POST",
                         .more = { "Content-Type: application/json; charset=UTF-8" },
                         .body = tr_buf_view(&d->body),
                         .is_safe = true,
                         .where = BQ_IN_STREAM,
                         .silence_us = SILENCE_S * TR_US_PER_S };

    if (d->body.failed)
        return tr_fail_oom(err);
    bq_table_url(d, table);
    tr_buf_z(&d->url, "/insertAll");
    return bq_call(cx, d, &c, ret_class, err);
}

/* What is said of the rows of one request. */
struct words {
    struct stream *s;
    const uint32_t *rows;
    struct bq_class class; /* why rows have to be sent again, or why none can be */
    struct bq_said said;
    bool failed;
};

static void hear(void *arg, size_t i, const struct bq_said *said)
{
    struct words *w = arg;
    struct held *h = &w->s->held[w->rows[i]];
    struct bq_class class;

    if (h->verdict != IN)
        return;
    enum bq_fate fate = bq_row_fate(said, &class);
    if (fate == BQ_FATE_REFUSED) {
        h->verdict = REFUSED;
        reject(w->s, &w->s->batch, w->rows[i],
               said->message[0] == '\0' ? said->reason : said->message);
        return;
    }
    h->verdict = AGAIN;
    /* The first word counts, but one that ends the attempt more than others. */
    if (w->class.id == NULL || (fate == BQ_FATE_FAILED && !w->failed)) {
        w->class = class;
        w->said = *said;
    }
    w->failed = w->failed || fate == BQ_FATE_FAILED;
}

static enum tr_rc fail(const struct words *w, struct tr_err *err)
{
    return bq_fail(&w->class, w->said.reason, w->said.message, tr_clock_wall_us(), err);
}

/* Counts what went in; what did not and may goes to the front of rows. */
static size_t settle(struct stream *s, uint32_t *rows, size_t n)
{
    size_t left = 0;
    int64_t in = 0;

    for (size_t i = 0; i < n; i++) {
        const struct held *h = &s->held[rows[i]];
        if (h->verdict == AGAIN)
            rows[left++] = rows[i];
        if (h->verdict != IN)
            continue;
        s->receipt.delivered++;
        in++;
        s->receipt.repaired += h->repaired;
        s->receipt.bytes += h->n;
    }
    tr_count(&streamed, in);
    return left;
}

static enum tr_rc read_answer(struct stream *s, uint32_t *rows, size_t n, size_t *ret_left,
                              struct tr_err *err)
{
    struct words w = { .s = s, .rows = rows };

    for (size_t i = 0; i < n; i++)
        s->held[rows[i]].verdict = IN;
    enum tr_rc rc = bq_read_insert(bq_answer(s->d), n, hear, &w, err);
    if (rc != TR_OK)
        return rc;
    *ret_left = settle(s, rows, n);
    return w.failed || *ret_left == n ? fail(&w, err) : TR_OK;
}

static bool is_too_big(const struct stream *s, enum tr_rc rc, const struct bq_class *class)
{
    return class->about == BQ_TOO_BIG || (rc == TR_REFUSED && s->d->answer.status == 413);
}

static enum tr_rc send_once(struct stream *s, uint32_t *rows, size_t n, size_t *ret_left,
                            bool *ret_too_big, struct tr_err *err)
{
    struct bq_class class;

    for (size_t i = 0; i < n; i++)
        s->views[i] = (struct tr_str){ s->text.p + s->held[rows[i]].at, s->held[rows[i]].n };
    tr_buf_clear(&s->d->body);
    bq_write_insert(&s->d->body, s->views, n);
    TR_KILL_POINT("bq.stream_ready");
    enum tr_rc rc = bq_stream_send(s->cx, s->d, s->d->place.table, &class, err);
    if (rc != TR_OK) {
        *ret_too_big = is_too_big(s, rc, &class);
        return rc;
    }
    TR_KILL_POINT("bq.stream_answered");
    return read_answer(s, rows, n, ret_left, err);
}

/* Until each has gone in or is rejected. A request that is too big is halved. */
static enum tr_rc send_rows(struct stream *s, uint32_t *rows, size_t n, struct tr_err *err)
{
    while (n > 0) {
        bool too_big = false;
        size_t left = 0;
        enum tr_rc rc = send_once(s, rows, n, &left, &too_big, err);

        if (too_big && n == 1) {
            reject(s, &s->batch, rows[0], "a row that is too big for a request");
            return TR_OK;
        }
        if (too_big) {
            TR_KILL_POINT("bq.stream_split");
            rc = send_rows(s, rows, n / 2, err);
            return rc == TR_OK ? send_rows(s, rows + n / 2, n - n / 2, err) : rc;
        }
        if (rc != TR_OK)
            return rc;
        if (left != 0)
            TR_KILL_POINT("bq.stream_again");
        tr_count(&again, (int64_t)left);
        n = left;
    }
    return TR_OK;
}

/* ---- what a former attempt has sent ---- */

/* No insertId is remembered for so long: rows that are there must not be sent again. */
static enum tr_rc find_those_there(struct stream *s, size_t n, struct tr_err *err)
{
    memset(s->there, 0, sizeof(s->there));
    if (!s->asks || n == 0)
        return TR_OK;
    enum tr_rc rc = bq_which(s->cx, s->d, &s->spec.owner, s->uuids, n, s->there, err);
    TR_KILL_POINT("bq.stream_asked");
    if (rc != TR_REFUSED)
        return rc;
    s->asks = false;
    if (s->spec.notices != NULL)
        s->spec.notices->notice(s->spec.notices,
                                "rows that were sent before an interruption are sent again, and "
                                "some may be there twice: the table cannot be asked which it has "
                                "(bigquery.jobs.create, bigquery.tables.getData)");
    return TR_OK;
}

/* Of a former attempt, but of this chunk. */
static void count_there(struct stream *s, const struct held *h)
{
    s->receipt.delivered++;
    s->receipt.repaired += h->repaired;
    s->receipt.bytes += h->n;
}

/* Sends the first n of the rows that wait. */
static enum tr_rc send_held(struct stream *s, size_t n, struct tr_err *err)
{
    size_t left = 0;
    enum tr_rc rc = find_those_there(s, n, err);

    if (rc != TR_OK)
        return rc;
    for (size_t i = 0; i < n; i++) {
        if (s->there[i])
            count_there(s, &s->held[i]);
        else
            s->order[left++] = (uint32_t)i;
    }
    s->batch.rows = n;
    rc = send_rows(s, s->order, left, err);
    return rc == TR_OK ? rc : tr_wrap(err, "stream %zu rows", left);
}

/* The last one stays where the request would become too large by it. */
static enum tr_rc make_room(struct stream *s, struct tr_err *err)
{
    bool is_over = s->text.n > BQ_INSERT_BYTES && s->n > 1;

    if (!is_over && s->n < BQ_INSERT_ROWS)
        return TR_OK;
    struct held last = s->held[s->n - 1];
    enum tr_rc rc = send_held(s, is_over ? s->n - 1 : s->n, err);
    if (rc != TR_OK)
        return rc;
    if (is_over) {
        memmove(s->text.p, s->text.p + last.at, last.n);
        s->uuids[0] = s->uuids[s->n - 1];
        s->inserted_at[0] = s->inserted_at[s->n - 1];
        s->held[0] = (struct held){ .n = last.n, .repaired = last.repaired };
    }
    s->n = is_over ? 1 : 0;
    s->text.n = is_over ? last.n : 0;
    if (s->n == 0 && s->text.cap > KEEP_BYTES)
        tr_buf_fini(&s->text);
    return TR_OK;
}

/* ---- the load ---- */

enum tr_rc bq_stream_begin(const struct tr_ctx *cx, struct tr_dest *dest,
                           const struct tr_load_spec *spec, struct tr_load **ret,
                           struct tr_err *err)
{
    struct bq_dest *d = bq_dest_of(dest);
    struct stream *s = calloc(1, sizeof(*s));

    (void)cx;
    assert(d->prepared && d->fit.schema->model == TR_MODEL_EVENTS);
    if (s == NULL)
        return tr_fail_oom(err);
    s->base.ops = &stream_ops;
    s->d = d;
    s->spec = *spec;
    s->batch = (struct tr_batch){ .schema = d->fit.schema, .inserted_at = s->inserted_at };
    s->batch.col[TR_EVENT_UUID].uuid = s->uuids;
    tr_buf_init(&s->text, TEXT_MAX);
    enum tr_rc rc = bq_rows_init(&s->rows, &d->fit, tr_conf_int(d->conf, "days_past"),
                                 tr_conf_int(d->conf, "days_future"), err);
    if (rc != TR_OK) {
        free(s);
        return rc;
    }
    /* what has come in lately cannot have been sent longer ago than that */
    s->asks = spec->again && d->fit.uuid >= 0 &&
              tr_clock_wall_us() - spec->key.range.hi > REMEMBERED_S * TR_US_PER_S;
    s->rows.streamed = true;
    s->rows.few_elements = !tr_conf_bool(d->conf, "elements_on_any_event");
    *ret = &s->base;
    return TR_OK;
}

static enum tr_rc write_row(struct stream *s, const struct tr_batch *b, size_t i,
                            struct tr_err *err)
{
    struct held *h = &s->held[s->n];
    char reason[BQ_REASON];

    *h = (struct held){ .at = s->text.n };
    bq_write_insert_row(&s->text, &b->col[TR_EVENT_UUID].uuid[i], s->spec.owner.project);
    switch (bq_row_add(&s->rows, b, i, &s->text, reason)) {
    case BQ_ROW_TOO_WIDE: /* there is no such limit */
    case BQ_ROW_FULL:
        return tr_fail_oom(err);
    case BQ_ROW_REJECTED:
        s->text.n = h->at;
        reject(s, b, i, reason);
        return TR_OK;
    case BQ_ROW_REPAIRED:
        h->repaired = true;
        break;
    case BQ_ROW_WROTE:
        break;
    }
    tr_buf_ch(&s->text, '}');
    if (s->text.failed)
        return tr_fail_oom(err);
    h->n = s->text.n - h->at;
    s->uuids[s->n] = b->col[TR_EVENT_UUID].uuid[i];
    s->inserted_at[s->n] = b->inserted_at[i];
    s->n++;
    return make_room(s, err);
}

static enum tr_rc stream_write(const struct tr_ctx *cx, struct tr_load *load,
                               const struct tr_batch *b, struct tr_err *err)
{
    struct stream *s = stream_of(load);
    enum tr_rc rc = TR_OK;

    if (tr_ctx_cancelled(cx))
        return tr_fail(err, TR_CANCELLED, "bigquery.cancelled", NULL, "cancelled");
    s->cx = cx;
    for (size_t i = 0; i < b->rows && rc == TR_OK; i++)
        rc = write_row(s, b, i, err);
    s->cx = NULL;
    return rc;
}

static enum tr_rc stream_commit(const struct tr_ctx *cx, struct tr_load *load,
                                struct tr_receipt *ret, struct tr_err *err)
{
    struct stream *s = stream_of(load);

    s->cx = cx;
    enum tr_rc rc = send_held(s, s->n, err);
    if (rc == TR_OK)
        *ret = s->receipt;
    stream_free(s);
    return rc;
}

static void stream_abort(struct tr_load *load)
{
    if (load != NULL)
        stream_free(stream_of(load));
}

static const struct tr_load_ops stream_ops = {
    .write = stream_write,
    .commit = stream_commit,
    .abort = stream_abort,
};

/* ---- the place ---- */

/* What is streamed into a table that was made a moment ago, in the place of another of its name,
 * may go to the old one and be lost, and the answer says that all is well ("Streaming data into
 * BigQuery", documentation: "Metadata" of troubleshooting; googleapis/google-cloud-ruby#3799,
 * python-bigquery#1331). Nobody can tell from outside, so rows wait until the table is older. */
static enum tr_rc wait_until_old(const struct bq_dest *d, struct tr_err *err)
{
    int64_t most = tr_conf_int(d->conf, "new_table_seconds") * TR_US_PER_S;
    int64_t now = tr_clock_wall_us(), age = now - d->table.created_us;

    if (d->table.created_us == 0 || age >= most)
        return TR_OK;
    if (age < 0) /* clocks differ */
        age = 0;
    (void)tr_fail(err, TR_THROTTLED, "bigquery.new_table",
                  "rows wait until BigQuery's streams surely know the table (new_table_seconds)",
                  "table %.100s was made %lld seconds ago", d->place.table,
                  (long long)(age / TR_US_PER_S));
    if (err != NULL)
        err->not_before_us = now + most - age;
    return TR_THROTTLED;
}

enum tr_rc bq_stream_prepare(const struct tr_ctx *cx, struct tr_dest *dest,
                             const struct tr_projection *p, tr_column_mask *ret_used,
                             struct tr_notice_sink *notices, struct tr_err *err)
{
    enum tr_rc rc = bq_prepare(cx, dest, p, ret_used, notices, err);

    if (rc == TR_OK)
        rc = wait_until_old(bq_dest_of(dest), err);
    if (rc == TR_OK) /* the names say whose elements go */
        *ret_used |= (tr_column_mask)1 << TR_EVENT_EVENT;
    return rc;
}
