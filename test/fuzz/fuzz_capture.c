/* Whole capture requests. The first byte chooses the route, the second the headers and the query;
 * the rest is the body (or, for the routes that say so, the query). Whatever comes, an event that
 * was taken keeps the promises of model/event.h, and a request that was refused leaves nothing
 * behind. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/time.h"
#include "base/utf8.h"
#include "capture/capture.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* Choices: add new ones at the end, the corpus names them by number. */
static const struct {
    const char *path;
    bool v1, body_is_query;
} routes[] = {
    { "/batch/", false, false },  { "/e/", false, false },
    { "/engage/", false, false }, { "/i/v1/analytics/events", true, false },
    { "/e/", false, true },       { "/capture", false, false },
};

static const struct {
    const char *type, *encoding, *query;
} headers[] = {
    { "application/json", "", "" },
    { "text/plain", "", "" },
    { "application/json", "gzip", "" },
    { "application/x-www-form-urlencoded", "", "compression=base64" },
    { "application/x-www-form-urlencoded", "", "compression=lz64" },
    { "text/plain", "", "ip=0&_=1795253400000&ver=1.200.1&compression=gzip-js" },
    { "application/json", "deflate", "" },
    { "application/json", "zstd", "" },
    { "text/plain", "", "compression=lz64&sent_at=1795253460000" },
    { "", "", "" },
};

static bool lookup(void *arg, struct tr_str token, int32_t *ret_project)
{
    (void)arg;
    *ret_project = 7;
    return token.n > 0;
}

static void check_span(const struct tr_event *e, struct tr_span span, const char *name)
{
    struct tr_json_value v;
    bool found = tr_json_find(e->properties, tr_str_of(name), &v);

    assert(found == (span.n > 0));
    if (found)
        assert(tr_str_eq(tr_event_span(e, span), v.raw));
}

static void check_event(const struct tr_event *e)
{
    struct tr_json j;
    struct tr_json_value v;

    assert(e->project == 7 && e->inserted_at == 0);
    assert(e->timestamp >= TR_TIME_MIN && e->timestamp <= TR_TIME_MAX);
    assert(e->event.n > 0 && tr_utf8_valid(e->event));
    assert(e->distinct_id.n > 0 && tr_utf8_valid(e->distinct_id));
    assert(tr_utf8_head(e->distinct_id, 200).n == e->distinct_id.n);
    tr_json_init(&j, e->properties);
    assert(tr_json_next(&j, &v, NULL) == TR_OK && tr_json_end(&j, NULL) == TR_OK);
    assert(v.type == TR_JSON_OBJECT && v.raw.n == e->properties.n);
    assert((v.flags & TR_JSON_BARE) == 0);
    /* Flags may say too much (a value that was replaced), never too little. */
    assert((v.flags & TR_JSON_NUL) == 0 || (e->flags & TR_EVENT_JSON_NUL) != 0);
    assert((v.flags & TR_JSON_SURROGATE) == 0 || (e->flags & TR_EVENT_JSON_SURROGATE) != 0);
    assert((v.flags & TR_JSON_WIDE_EXP) == 0 || (e->flags & TR_EVENT_JSON_WIDE) != 0);
    assert((v.flags & TR_JSON_BIG_INT) == 0 || (e->flags & TR_EVENT_JSON_BIG_INT) != 0);
    assert((v.flags & TR_JSON_DEEP) == 0 || (e->flags & TR_EVENT_JSON_DEEP) != 0);
    check_span(e, e->set, "$set");
    check_span(e, e->set_once, "$set_once");
    check_span(e, e->ip, "$ip");
    check_span(e, e->elements_chain, "$elements_chain");
}

static void check_taken(const struct tr_capture_out *out, size_t before)
{
    size_t at = before;

    for (uint32_t i = 0; i < out->events; i++) {
        struct tr_event e;
        assert(out->at[i] == at);
        size_t n = tr_event_unpack(out->rows->p + at, out->rows->n - at, &e);
        assert(n > 0);
        check_event(&e);
        at += n;
    }
    assert(at == out->rows->n);
    assert(out->events + out->ignored <= out->seen);
}

static void check_verdicts(const struct tr_capture_out *out)
{
    uint32_t taken = 0;

    assert(out->n_verdicts == out->seen);
    for (uint32_t i = 0; i < out->n_verdicts; i++) {
        assert(out->verdicts[i].refused == (out->verdicts[i].details != NULL));
        if (!out->verdicts[i].refused)
            assert(out->verdicts[i].index == taken++);
    }
    assert(taken == out->events);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const uint8_t random[16] = { 42 };
    static struct tr_capture_scratch
        *scratch; /* kept: leftovers of one input must not show in the next */
    struct tr_budget budget;
    struct tr_buf rows;
    struct tr_err err;

    if (n < 2)
        return 0;
    if (scratch == NULL && tr_capture_scratch_new(&scratch, &err) != TR_OK)
        abort();
    size_t route = bytes[0] % (sizeof(routes) / sizeof(routes[0]));
    size_t header = bytes[1] % (sizeof(headers) / sizeof(headers[0]));
    struct tr_str body = { (const char *)bytes + 2, n - 2 };
    struct tr_capture_in in = {
        .path = tr_str_of(routes[route].path),
        .query = routes[route].body_is_query ? body : tr_str_of(headers[header].query),
        .content_type = tr_str_of(headers[header].type),
        .content_encoding = tr_str_of(headers[header].encoding),
        .bearer = TR_STR("phc_fuzz"),
        .sdk_info = TR_STR("posthog-node/5.70.0"),
        .body = routes[route].body_is_query ? (struct tr_str){ NULL, 0 } : body,
        .ip = "203.0.113.9",
        .now = INT64_C(1795253400000000),
        .random = random,
        .max_inflated = 1 << 20,
        .max_event_bytes = 64 * 1024,
        .max_depth = 150,
        .budget = &budget,
    };
    struct tr_capture_out out = { .rows = &rows };

    tr_budget_init(&budget, 4 << 20);
    tr_buf_init(&rows, 8 << 20);
    tr_buf_z(&rows, "earlier!");
    enum tr_rc rc = routes[route].v1 ? tr_capture_posthog_v1(&in, lookup, NULL, scratch, &out, &err)
                                     : tr_capture_posthog(&in, lookup, NULL, scratch, &out, &err);
    assert(budget.used == 0);
    assert(memcmp(rows.p, "earlier!", 8) == 0);
    if (rc == TR_OK) {
        check_taken(&out, 8);
        if (routes[route].v1)
            check_verdicts(&out);
    } else {
        assert(rc == err.rc && err.id != NULL && err.cause[0] != '\0');
        assert(rc == TR_INVALID || rc == TR_THROTTLED);
        assert(rows.n == 8 && !rows.failed && out.events == 0);
    }
    tr_buf_fini(&rows);
    return 0;
}
