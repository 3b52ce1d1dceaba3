/* PostHog's capture protocol as its SDKs have spoken it over the years: an array of events, an
 * object with a batch, one event, or a person update on /engage. Which one it is shows while it is
 * read, and the keys of an envelope may come after its events: events wait for the end of the
 * request. */
#include <stdio.h>

#include "base/time.h"
#include "capture/capture_priv.h"

enum shape { SHAPE_SINGLE, SHAPE_ARRAY, SHAPE_BATCH };

struct request {
    const struct tr_capture_in *in;
    struct tr_capture_scratch *s;
    struct tr_capture_out *out;
    struct tr_json j;
    enum shape shape;
    bool engage;      /* events need no name here */
    bool ip_unwanted; /* "?ip=0" of the browser SDK */
    uint32_t index;   /* of the event at work */
    struct tr_json_value ip;
    struct tr_json_value token; /* of the first event */
    bool token_missing, tokens_differ;
    struct tr_json_value sent_at; /* of the envelope */
    bool historical;
};

static enum tr_rc refuse(const struct request *q, const struct tr_refusal *why, struct tr_err *err)
{
    char name[32] = "the event";

    if (q->shape != SHAPE_SINGLE)
        (void)snprintf(name, sizeof(name), "%s[%u]", q->shape == SHAPE_BATCH ? "batch" : "event",
                       (unsigned)q->index);
    if (why == &tr_refusal_too_large)
        return tr_fail(err, TR_INVALID, why->id, NULL, "%s is larger than the limit of %zu bytes",
                       name, q->in->max_event_bytes);
    const char *hint = why == &tr_refusal_misrouted ? "send other events to /batch/" : NULL;
    return tr_fail(err, TR_INVALID, why->id, hint, "%s %s", name, why->text);
}

/* All events of a request must name one project, where the envelope does not. */
static void note_token(struct request *q, const struct tr_reading *r)
{
    struct tr_json_value token = tr_event_token(r);

    if (token.raw.p == NULL) {
        q->token_missing = true;
    } else if (q->token.raw.p == NULL) {
        q->token = token;
    } else if (!q->tokens_differ && !tr_str_eq(q->token.raw, token.raw)) {
        struct tr_str first = tr_scratch_text(q->s, &q->token, &q->s->token);
        q->tokens_differ = first.p == NULL || !tr_json_text_is(&token, first);
    }
}

static enum tr_rc add_event(struct request *q, const struct tr_reading *r, struct tr_err *err)
{
    const struct tr_refusal *refusal = NULL;
    struct tr_addition ip = { TR_PROPERTY_IP, q->ip };

    q->out->seen++;
    if (tr_event_dropped(r)) {
        q->out->ignored++;
        return TR_OK;
    }
    note_token(q, r);
    if (tr_event_add(q->s, q->in, r, q->engage, &ip, q->ip_unwanted ? 0 : 1, q->out, &refusal,
                     err) != TR_OK)
        return err->rc;
    return refusal == NULL ? TR_OK : refuse(q, refusal, err);
}

static void forget_events(struct request *q)
{
    q->out->rows->n = q->s->rows_before;
    q->out->seen = q->out->events = q->out->ignored = 0;
    tr_buf_clear(&q->s->at);
    tr_buf_clear(&q->s->pending);
    q->token.raw.p = NULL;
    q->token_missing = q->tokens_differ = false;
}

static enum tr_rc read_array(struct request *q, struct tr_err *err)
{
    struct tr_reading r;
    bool more;
    bool object;

    forget_events(q);
    if (tr_json_open_array(&q->j, err) != TR_OK)
        return err->rc;
    for (q->index = 0;; q->index++) {
        if (tr_json_element_at(&q->j, &more, err) != TR_OK)
            return err->rc;
        if (!more)
            break;
        if (tr_event_read(q->s, &q->j, &r, &object, err) != TR_OK)
            return err->rc;
        if (!object)
            return refuse(q, &tr_refusal_no_object, err);
        if (add_event(q, &r, err) != TR_OK)
            return err->rc;
    }
    if (q->index == 0)
        return tr_fail(err, TR_INVALID, "capture.empty_batch", NULL, "the request has no events");
    return TR_OK;
}

/* A member of the outermost object that belongs to envelopes; false: it may belong to an event. */
static enum tr_rc envelope_member(struct request *q, const struct tr_json_value *key,
                                  bool *ret_taken, struct tr_err *err)
{
    enum tr_json_type type;
    struct tr_json_value value;

    *ret_taken = true;
    if (tr_json_text_is(key, TR_STR("batch"))) {
        if (tr_json_peek(&q->j, &type, err) != TR_OK)
            return err->rc;
        if (type != TR_JSON_ARRAY)
            return tr_json_next(&q->j, &value, err);
        q->shape = SHAPE_BATCH;
        return read_array(q, err);
    }
    /* "sentAt" is what the Python SDK wrote up to version 3.0. */
    if (tr_json_text_is(key, TR_STR("sent_at")) || tr_json_text_is(key, TR_STR("sentAt")))
        return tr_json_next(&q->j, &q->sent_at, err);
    if (tr_json_text_is(key, TR_STR("historical_migration"))) {
        if (tr_json_next(&q->j, &value, err) != TR_OK)
            return err->rc;
        q->historical = value.type == TR_JSON_TRUE;
        return TR_OK;
    }
    *ret_taken = false;
    return TR_OK;
}

/* An envelope or one event; token is what the envelope says. */
static enum tr_rc read_object(struct request *q, struct tr_json_value *ret_token,
                              struct tr_err *err)
{
    struct tr_reading r;
    struct tr_json_value key;
    bool more;
    bool taken;

    memset(&r, 0, sizeof(r));
    if (tr_json_open_object(&q->j, err) != TR_OK)
        return err->rc;
    const char *from = q->j.p - 1;
    for (;;) {
        if (tr_json_member_key(&q->j, &key, &more, err) != TR_OK)
            return err->rc;
        if (!more)
            break;
        if (envelope_member(q, &key, &taken, err) != TR_OK)
            return err->rc;
        if (!taken && tr_event_read_member(q->s, &q->j, &key, &r, err) != TR_OK)
            return err->rc;
    }
    if (q->shape == SHAPE_BATCH) {
        *ret_token = r.token;
        return TR_OK;
    }
    r.raw = (struct tr_str){ from, (size_t)(q->j.p - from) };
    q->historical = false;
    q->sent_at.raw.p = NULL;
    return add_event(q, &r, err);
}

static enum tr_rc read_request(struct request *q, struct tr_str text,
                               struct tr_json_value *ret_token, struct tr_err *err)
{
    enum tr_json_type type;

    tr_request_json(q->in, text, &q->j);
    if (tr_json_peek(&q->j, &type, err) != TR_OK)
        return err->rc;
    if (type == TR_JSON_ARRAY)
        q->shape = SHAPE_ARRAY;
    if ((type == TR_JSON_ARRAY ? read_array(q, err) : read_object(q, ret_token, err)) != TR_OK)
        return err->rc;
    return tr_json_end(&q->j, err);
}

static enum tr_rc find_project(struct request *q, const struct tr_json_value *envelope_token,
                               tr_token_lookup *lookup, void *lookup_arg, struct tr_err *err)
{
    struct tr_str token = { NULL, 0 };
    const struct tr_json_value *from = envelope_token;

    if (from->raw.p == NULL || from->type != TR_JSON_STRING || from->raw.n == 2) {
        if (q->out->events == 0)
            return TR_OK; /* nothing but dropped events: nobody needs to know whose */
        if (q->tokens_differ)
            return tr_fail(err, TR_INVALID, "capture.bad_token", NULL,
                           "the events of one request name several projects");
        from = q->token_missing ? NULL : &q->token;
    }
    if (from != NULL && from->raw.p != NULL) {
        token = tr_scratch_text(q->s, from, &q->s->token);
        if (token.p == NULL) /* too long to be unescaped */
            token = from->raw;
    }
    return tr_token_resolve(q->s, token, lookup, lookup_arg, q->out, err);
}

/* Query parameters of browser SDKs: milliseconds, believed from 2021 on. */
static bool query_sent_at(const struct request *q, int64_t *ret)
{
    static const char *const names[] = { "sent_at", "_" };
    const int64_t from_ms = INT64_C(1609459200000);

    for (size_t i = 0; i < 2; i++) {
        struct tr_json_value v = { .type = TR_JSON_NUMBER };
        int64_t ms;
        v.raw = tr_form_get(q->in->query, names[i]);
        if (v.raw.n > 0 && tr_json_int64(&v, &ms) && ms >= from_ms &&
            ms <= TR_TIME_MAX / TR_US_PER_MS) {
            *ret = ms * TR_US_PER_MS;
            return true;
        }
    }
    return false;
}

static enum tr_rc capture(struct request *q, tr_token_lookup *lookup, void *lookup_arg,
                          struct tr_err *err)
{
    struct tr_request_facts facts = { 0 };
    struct tr_json_value token = { .raw = { NULL, 0 } };
    struct tr_str text;

    if (tr_payload_v0(q->s, q->in, &text, err) != TR_OK)
        return err->rc;
    if (read_request(q, text, &token, err) != TR_OK) {
        tr_refused_count(q->s, q->in, text, lookup, lookup_arg, q->out);
        return err->rc;
    }
    if (find_project(q, &token, lookup, lookup_arg, err) != TR_OK)
        return err->rc;
    facts.historical = q->historical;
    facts.has_sent_at =
        tr_sent_at_of(q->s, &q->sent_at, &facts.sent_at) || query_sent_at(q, &facts.sent_at);
    tr_events_settle(q->s, q->in, &facts, q->out);
    return TR_OK;
}

enum tr_rc tr_capture_posthog(const struct tr_capture_in *in, tr_token_lookup *lookup,
                              void *lookup_arg, struct tr_capture_scratch *scratch,
                              struct tr_capture_out *out, struct tr_err *err)
{
    struct tr_err unread; /* callers may not care, the functions below read it */
    struct request q = { .in = in, .s = scratch, .out = out };

    tr_request_begin(scratch, in, out);
    q.engage = tr_str_starts(in->path, TR_STR("/engage"));
    q.ip_unwanted =
        tr_str_is(tr_form_get(in->query, "ip"), "0") || !tr_ip_value(scratch, in->ip, &q.ip);
    if (err == NULL)
        err = &unread;
    return tr_request_end(scratch, out, capture(&q, lookup, lookup_arg, err), err);
}
