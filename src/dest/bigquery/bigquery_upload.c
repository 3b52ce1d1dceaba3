/* A file on its way to a load job: Google's resumable upload.
 *
 * "Resumable uploads", Google's documentation of media uploads: the session is opened with the job;
 * bytes follow by PUT in pieces of a multiple of 256 KiB, each answered by 308 and how far the file
 * has arrived; the last one is answered by the job. After anything else the server is asked how far
 * it has come ("Content-Range: bytes * / total") and it goes on from there.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dest/bigquery/bigquery_priv.h"
#include "net/http_policy.h"
#include "os/kill.h"

/* Interruptions in a row, without a byte of progress, that a piece is picked up after. */
enum { TRIES = 3, RANGE_TEXT = 96, LEFT_MAX = BQ_ROW_BYTES + 2 * BQ_PIECE_BYTES };

void bq_upload_init(struct bq_upload *u, struct bq_dest *d)
{
    *u = (struct bq_upload){ .d = d };
    tr_buf_init(&u->left, LEFT_MAX);
}

void bq_upload_fini(struct bq_upload *u)
{
    tr_buf_fini(&u->left);
    free(u->session);
    u->session = NULL;
}

/* ---- the session ---- */

/* The token goes there too: to Google, or to where the calls go anyway. */
static bool may_lead_to(const struct bq_dest *d, const char *session)
{
    static const char google[] = ".googleapis.com";
    struct tr_url to, api;

    if (tr_url_parse(session, &to, NULL) != TR_OK || tr_url_parse(d->api, &api, NULL) != TR_OK)
        return false;
    if (strcmp(to.host, api.host) == 0)
        return to.port == api.port && to.tls == api.tls;
    size_t n = strlen(to.host), tail = sizeof(google) - 1;
    return to.tls && n > tail && strcmp(to.host + n - tail, google) == 0;
}

enum tr_rc bq_upload_open(const struct tr_ctx *cx, struct bq_upload *u, struct tr_err *err)
{
    struct bq_dest *d = u->d;
    struct bq_call c = { .method = "POST",
                         .more = { "Content-Type: application/json; charset=UTF-8",
                                   "X-Upload-Content-Type: application/octet-stream" },
                         .body = tr_buf_view(&d->body),
                         .is_safe = true }; /* a session that nobody uses does nothing */

    bq_url(d, BQ_ROOT_UPLOAD, "jobs");
    bq_url_query(d, "uploadType", "resumable");
    if (d->body.failed)
        return tr_fail_oom(err);
    enum tr_rc rc = bq_call(cx, d, &c, NULL, err);
    if (rc != TR_OK)
        return tr_wrap(err, "open an upload");
    if (!may_lead_to(d, d->answer.location))
        return tr_fail(err, TR_TRANSIENT, "bigquery.bad_answer", NULL,
                       "BigQuery opened an upload and did not say where");
    u->session = strdup(d->answer.location);
    return u->session == NULL ? tr_fail_oom(err) : TR_OK;
}

/* ---- pieces ---- */

/* What a PUT came to. */
struct put {
    enum tr_rc rc;
    struct bq_class class;
    struct tr_err err;
};

static struct put put(const struct tr_ctx *cx, struct bq_upload *u, struct tr_str bytes,
                      const char *range)
{
    struct bq_call c = { .method = "PUT",
                         .url = u->session,
                         .more = { range, "Content-Type: application/octet-stream" },
                         .body = bytes,
                         .other_status = 308 };
    struct put p = { 0 };

    p.rc = bq_call(cx, u->d, &c, &p.class, &p.err);
    return p;
}

static enum tr_rc give(const struct put *p, struct tr_err *err)
{
    if (err != NULL)
        *err = p->err;
    return p->rc;
}

/* The file has arrived up to next: what is before that is not needed any more. */
static bool advance(struct bq_upload *u, uint64_t next)
{
    if (next < u->arrived || next - u->arrived > u->left.n)
        return false;
    size_t n = (size_t)(next - u->arrived);
    memmove(u->left.p, u->left.p + n, u->left.n - n);
    u->left.n -= n;
    u->arrived = next;
    return true;
}

/* A 308: how far it has come. */
static enum tr_rc take_308(struct bq_upload *u, struct tr_err *err)
{
    uint64_t next = 0;

    if (!bq_read_range(u->d->answer.range, &next) || !advance(u, next))
        return tr_fail(err, TR_TRANSIENT, "bigquery.upload_lost", NULL,
                       "the upload's bytes are not where they were sent");
    return TR_OK;
}

/* ---- asking, after an interruption ---- */

static const char *total_text(const struct bq_upload *u, bool final, char out[32])
{
    if (final)
        (void)snprintf(out, 32, "%" PRIu64, u->arrived + u->left.n);
    else
        (void)snprintf(out, 32, "*");
    return out;
}

static struct put ask(const struct tr_ctx *cx, struct bq_upload *u, bool final)
{
    char range[RANGE_TEXT], total[32];

    (void)snprintf(range, sizeof(range), "Content-Range: bytes */%s", total_text(u, final, total));
    return put(cx, u, TR_STR(""), range);
}

/* Whether an upload can be picked up after this. */
static bool is_passing(const struct put *p)
{
    return p->rc == TR_TRANSIENT || p->rc == TR_AMBIGUOUS ||
           (p->rc == TR_REFUSED && p->class.about == BQ_ELSE); /* an offset that did not fit */
}

enum arrived { SOME, ALL, FAILED };

/* One piece of n bytes, until all of them have arrived, whatever interrupts. ALL: the last piece
 * has brought the file to its end, d->answer is the job's. */
static enum arrived send_piece(const struct tr_ctx *cx, struct bq_upload *u, size_t n, bool final,
                               struct put *ret)
{
    uint64_t end = u->arrived + n;
    int tries = 0;
    char range[RANGE_TEXT], total[32];

    while (u->arrived < end) {
        uint64_t before = u->arrived;
        struct tr_str bytes = { u->left.p, (size_t)(end - u->arrived) };

        (void)snprintf(range, sizeof(range), "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%s",
                       u->arrived, end - 1, total_text(u, final, total));
        *ret = put(cx, u, bytes, range);
        if (ret->rc != TR_OK && is_passing(ret)) {
            struct put asked = ask(cx, u, final);
            if (asked.rc == TR_OK || !is_passing(&asked))
                *ret = asked;
        }
        if (ret->rc == TR_OK && u->d->answer.status != 308)
            return ALL;
        if (ret->rc == TR_OK)
            ret->rc = take_308(u, &ret->err);
        tries = u->arrived > before ? 0 : tries + 1;
        if (ret->rc != TR_OK && (!is_passing(ret) || tries >= TRIES))
            return FAILED;
        if (tries >= TRIES) {
            ret->rc = tr_fail(&ret->err, TR_TRANSIENT, "bigquery.upload_stuck", NULL,
                              "BigQuery takes no bytes of the upload");
            return FAILED;
        }
    }
    return SOME;
}

/* No job without the last piece. */
static enum tr_rc fail_piece(struct put *p, struct tr_err *err)
{
    if (p->rc == TR_AMBIGUOUS || p->class.about == BQ_GONE) /* the session, that is */
        p->rc = p->err.rc = TR_TRANSIENT;
    (void)tr_wrap(&p->err, "upload");
    return give(p, err);
}

enum tr_rc bq_upload_pieces(const struct tr_ctx *cx, struct bq_upload *u, struct tr_err *err)
{
    while (u->left.n > BQ_PIECE_BYTES) {
        struct put p;
        enum arrived a = send_piece(cx, u, BQ_PIECE_BYTES, false, &p);

        if (a == ALL)
            return tr_fail(err, TR_TRANSIENT, "bigquery.bad_answer", NULL,
                           "BigQuery ended an upload that had not ended");
        if (a == FAILED)
            return fail_piece(&p, err);
        TR_KILL_POINT("bq.piece_sent");
    }
    return TR_OK;
}

/* ---- the end ---- */

/* The last piece was not answered by a job: is there one? */
static enum tr_rc fail_finish(const struct put *p, struct bq_job *ret, bool *ret_was_there,
                              struct tr_err *err)
{
    if (p->class.about == BQ_THERE) {
        *ret_was_there = true;
        bq_job_unknown(ret);
        return TR_OK;
    }
    enum tr_rc rc = give(p, err);
    if (rc == TR_TRANSIENT || rc == TR_AMBIGUOUS || p->class.about == BQ_GONE)
        return tr_fail(err, TR_AMBIGUOUS, "bigquery.job_unknown",
                       "the job is asked for before the next attempt",
                       "the upload was complete and its answer did not come: %s", p->err.cause);
    return rc == TR_CANCELLED ? rc : tr_wrap(err, "end the upload");
}

enum tr_rc bq_upload_finish(const struct tr_ctx *cx, struct bq_upload *u, struct bq_job *ret,
                            bool *ret_was_there, struct tr_err *err)
{
    struct put p = { 0 };

    *ret_was_there = false;
    enum tr_rc rc = bq_upload_pieces(cx, u, err);
    if (rc != TR_OK)
        return rc;
    TR_KILL_POINT("bq.before_last_piece");
    u->is_ending = true;
    switch (send_piece(cx, u, u->left.n, true, &p)) {
    case ALL:
        TR_KILL_POINT("bq.job_made");
        rc = bq_read_job(bq_answer(u->d), ret, err);
        if (rc == TR_OK)
            return rc;
        return tr_fail(err, TR_AMBIGUOUS, "bigquery.job_unknown", NULL,
                       "BigQuery's answer to the upload is no job");
    case FAILED:
        return fail_finish(&p, ret, ret_was_there, err);
    case SOME:
        break;
    }
    return tr_fail(err, TR_AMBIGUOUS, "bigquery.job_unknown", NULL,
                   "BigQuery has the whole upload and made no job");
}
