/* Rows of which BigQuery refuses some: which?
 *
 * Lines are tried, some megabytes at a time, in a table of their own that lasts some hours, with as
 * many bad records allowed as there are lines. Rows that the job's errors name by the position of
 * their line are rejected with what is said of them. When the job counts more bad rows than it
 * names, the rest is halved until each bad row has been refused alone. What was accepted goes on
 * into the chunk's own load.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dest/bigquery/bigquery_priv.h"
#include "os/kill.h"

enum {
    TRY_BYTES = 8 << 20,
    /* Jobs of one load: BigQuery takes 1,500 loads a table and day, and nobody wants to wait for
     * more. */
    TRIES_MAX = 500,
    SQL_NAME = 64,
};

struct line {
    size_t row; /* of the batch */
    size_t at, n;
    bool repaired, bad;
};

struct piece {
    struct bq_load *l;
    const struct tr_batch *b;
    struct tr_buf text;
    struct line *lines; /* TR_BATCH_ROWS of them */
    size_t n;
};

/* ---- one try ---- */

static enum tr_rc make_table(struct bq_load *l, struct tr_err *err)
{
    if (l->probe[0] != '\0')
        return TR_OK;
    (void)snprintf(l->probe, sizeof(l->probe), "tailrace_probe_%s", l->attempt);
    enum tr_rc rc = bq_table_make_short(l->cx, l->d, l->probe, BQ_WHAT_PROBE, err);
    if (rc != TR_OK)
        l->probe[0] = '\0';
    return rc;
}

static enum tr_rc run_try(struct piece *p, struct line *const *lines, size_t n, struct tr_err *err)
{
    struct bq_load *l = p->l;
    struct bq_label label = { .what = BQ_WHAT_PROBE, .attempt = l->attempt };
    struct bq_upload up;
    char id[BQ_JOB_ID];
    bool was_there = false;

    (void)snprintf(id, sizeof(id), "tailrace_probe_%s_%u", l->attempt, l->probes++);
    tr_buf_clear(&l->d->body);
    bq_write_load(&l->d->body, &l->d->place, id, &label, l->probe, &l->d->fit, n == 1 ? 0 : n);
    bq_upload_init(&up, l->d);
    for (size_t i = 0; i < n; i++)
        tr_buf_add(&up.left, p->text.p + lines[i]->at, lines[i]->n);
    enum tr_rc rc = up.left.failed ? tr_fail_oom(err) : bq_upload_open(l->cx, &up, err);
    if (rc == TR_OK)
        rc = bq_upload_finish(l->cx, &up, &l->job, &was_there, err);
    bq_upload_fini(&up);
    if (rc == TR_OK)
        rc = bq_job_wait(l->cx, l->d, id, 0, &l->job, err);
    return rc;
}

/* *ret_bad: how many of them BigQuery refuses; n + 1: some. */
static enum tr_rc try_lines(struct piece *p, struct line *const *lines, size_t n, size_t *ret_bad,
                            struct tr_err *err)
{
    struct bq_load *l = p->l;
    struct bq_class class;

    if (l->probes >= TRIES_MAX)
        return tr_fail(err, TR_REFUSED, "bigquery.too_many_bad_rows",
                       "look at the reasons of the rejects, and leave such events out by a filter "
                       "or mend the table",
                       "BigQuery refuses rows of this chunk and does not name them: %d tries were "
                       "not enough",
                       TRIES_MAX);
    enum tr_rc rc = make_table(l, err);
    if (rc == TR_OK)
        rc = run_try(p, lines, n, err);
    if (rc == TR_AMBIGUOUS) { /* a try that nobody needs */
        rc = TR_TRANSIENT;
        if (err != NULL)
            err->rc = rc;
    }
    if (rc != TR_OK)
        return tr_wrap(err, "look for bad rows");
    *ret_bad = (size_t)l->job.bad_records;
    if (!bq_job_is_dead(&l->job))
        return TR_OK;
    rc = bq_job_fail(&l->job, &class, err);
    if (class.about != BQ_ROWS)
        return tr_wrap(err, "look for bad rows");
    *ret_bad = n + 1;
    return TR_OK;
}

/* ---- verdicts ---- */

static void refuse(struct piece *p, struct line *line, const char *message)
{
    line->bad = true;
    bq_reject(p->l, p->b, line->row, message);
}

/* Marks the lines that the job's errors name; how many. */
static size_t take_named(struct piece *p, struct line *const *lines, size_t n)
{
    const struct bq_job *job = &p->l->job;
    int64_t at = 0;
    size_t named = 0;

    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < job->n_rows && !lines[i]->bad; k++)
            if (job->rows[k].position == at) {
                refuse(p, lines[i], job->rows[k].message);
                named++;
            }
        at += (int64_t)lines[i]->n;
    }
    return named;
}

static size_t without_bad(struct line **lines, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++)
        if (!lines[i]->bad)
            lines[kept++] = lines[i];
    return kept;
}

static enum tr_rc accept(struct piece *p, struct line *const *lines, size_t n, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    for (size_t i = 0; i < n && rc == TR_OK; i++) {
        rc = tr_compressor_write(p->l->gzip, p->text.p + lines[i]->at, lines[i]->n, err);
        p->l->counts.delivered++;
        p->l->counts.repaired += lines[i]->repaired;
    }
    return rc;
}

static enum tr_rc sift(struct piece *p, struct line **lines, size_t n, struct tr_err *err)
{
    while (n > 0) {
        size_t bad = 0;
        enum tr_rc rc = try_lines(p, lines, n, &bad, err);

        if (rc != TR_OK)
            return rc;
        if (bad == 0)
            return accept(p, lines, n, err);
        if (n == 1) {
            refuse(p, lines[0],
                   p->l->job.n_rows > 0 ? p->l->job.rows[0].message : p->l->job.said.message);
            return TR_OK;
        }
        size_t named = take_named(p, lines, n);
        n = without_bad(lines, n);
        if (named == bad)
            return accept(p, lines, n, err);
        if (named > 0)
            continue;
        rc = sift(p, lines, n / 2, err);
        if (rc != TR_OK)
            return rc;
        lines += n / 2;
        n -= n / 2;
    }
    return TR_OK;
}

static enum tr_rc end_piece(struct piece *p, struct tr_err *err)
{
    struct line **lines = malloc((p->n + 1) * sizeof(struct line *));

    if (lines == NULL)
        return tr_fail_oom(err);
    for (size_t i = 0; i < p->n; i++)
        lines[i] = &p->lines[i];
    enum tr_rc rc = sift(p, lines, p->n, err);
    free(lines);
    TR_KILL_POINT("bq.sifted");
    tr_buf_clear(&p->text);
    p->n = 0;
    return rc;
}

static enum tr_rc add_row(struct piece *p, size_t row, struct tr_err *err)
{
    char reason[BQ_REASON];
    size_t at = p->text.n;
    enum bq_row wrote = bq_row_add(&p->l->rows, p->b, row, &p->text, reason);

    if (wrote == BQ_ROW_FULL)
        return tr_fail_oom(err);
    if (wrote == BQ_ROW_TOO_WIDE)
        return bq_too_wide(err);
    if (wrote == BQ_ROW_REJECTED) {
        bq_reject(p->l, p->b, row, reason);
        return TR_OK;
    }
    p->lines[p->n++] = (struct line){
        .row = row, .at = at, .n = p->text.n - at, .repaired = wrote == BQ_ROW_REPAIRED
    };
    return p->text.n >= TRY_BYTES ? end_piece(p, err) : TR_OK;
}

enum tr_rc bq_careful_rows(struct bq_load *l, const struct tr_batch *b, struct tr_err *err)
{
    struct piece p = { .l = l, .b = b, .lines = calloc(b->rows + 1, sizeof(struct line)) };
    enum tr_rc rc = TR_OK;

    tr_buf_init(&p.text, BQ_ROW_BYTES + 2 * TRY_BYTES);
    if (p.lines == NULL)
        rc = tr_fail_oom(err);
    for (size_t i = 0; i < b->rows && rc == TR_OK; i++)
        rc = add_row(&p, i, err);
    if (rc == TR_OK && p.n > 0)
        rc = end_piece(&p, err);
    tr_buf_fini(&p.text);
    free(p.lines);
    return rc;
}
