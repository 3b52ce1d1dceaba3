/* What BigQuery and Google's token services answer, and the values that go into a JSON column. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/google_wire.h"
#include "base/json.h"
#include "dest/bigquery/bigquery_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hear(void *arg, size_t row, const struct bq_said *said)
{
    struct bq_class class;

    assert(row < 4);
    *(size_t *)arg += bq_row_fate(said, &class) == BQ_FATE_REFUSED;
}

static void read_replies(struct tr_str body, const char *z)
{
    struct bq_job *job = malloc(sizeof(*job));
    struct bq_dataset set;
    struct bq_table table;
    struct bq_result result;
    struct bq_said said;
    struct tr_err err;
    uint64_t next = 0;

    assert(job != NULL);
    bq_read_error(body, &said);
    if (bq_read_job(body, job, &err) == TR_OK)
        (void)bq_job_is_dead(job);
    (void)!bq_read_dataset(body, &set, &err);
    (void)!bq_read_table(body, &table, &err);
    bq_table_fini(&table);
    (void)!bq_read_result(body, BQ_RESULT_COLUMNS, &result, &err);
    (void)bq_read_range(z, &next);
    (void)!bq_read_insert(body, 4, hear, &(size_t){ 0 }, &err);
    (void)bq_classify(BQ_IN_CALL, 400, said.reason, said.message);
    free(job);
}

static void read_tokens(struct tr_str body, const char *z)
{
    struct tr_google_key key = { 0 };
    struct tr_buf token;
    struct tr_err err;
    int64_t seconds = 0, date = 0;

    tr_buf_init(&token, TR_GOOGLE_TOKEN_MAX);
    if (tr_google_key_parse(body, &key, &err) == TR_OK)
        tr_google_key_fini(&key);
    (void)!tr_google_read_token(200, body, z, 0, &token, &seconds, &err);
    (void)!tr_google_read_token(400, body, z, 0, &token, &seconds, &err);
    (void)!tr_google_read_impersonation(200, body, "a@b", 0, &token, &seconds, &err);
    (void)!tr_google_read_owner(200, body, "a@b", "org", &err);
    (void)!tr_http_date_parse(z, &date);
    tr_buf_fini(&token);
}

/* What comes out is one value in one line, and stays as it is when it comes by again. */
static void keep_json(struct tr_str text)
{
    struct tr_json j;
    struct tr_json_value v;
    struct tr_err err;
    struct tr_buf once, twice;

    tr_json_init(&j, text);
    if (tr_json_next(&j, &v, &err) != TR_OK)
        return;
    tr_buf_init(&once, 1 << 24);
    tr_buf_init(&twice, 1 << 24);
    if (bq_json_add(&once, v.raw) != BQ_JSON_DEEP) {
        struct tr_json again;
        struct tr_json_value kept;

        assert(memchr(once.p, '\n', once.n) == NULL && memchr(once.p, '\r', once.n) == NULL);
        tr_json_init(&again, tr_buf_view(&once));
        assert(tr_json_next(&again, &kept, &err) == TR_OK && tr_json_end(&again, &err) == TR_OK);
        assert((kept.flags & (TR_JSON_BARE | TR_JSON_SURROGATE)) == 0);
        assert(bq_json_add(&twice, tr_buf_view(&once)) == BQ_JSON_SAME);
        assert(tr_str_eq(tr_buf_view(&once), tr_buf_view(&twice)));
    }
    tr_buf_fini(&once);
    tr_buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1);
    struct tr_str body = { copy, size };

    assert(copy != NULL);
    memcpy(copy, data, size);
    copy[size] = '\0';
    read_replies(body, copy);
    read_tokens(body, copy);
    keep_json(body);
    free(copy);
    return 0;
}
