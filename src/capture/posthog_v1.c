/* PostHog's capture protocol, version 1: the token and the time of sending are in headers, what
 * were
 * "$"-properties is in fields of its own, every event has a uuid and gets a verdict of its own. */
#include "capture/capture_priv.h"
#include "capture/when.h"

struct request {
    const struct tr_capture_in *in;
    struct tr_capture_scratch *s;
    struct tr_capture_out *out;
    struct tr_json j;
    struct tr_addition common[3]; /* $ip, $lib, $lib_version */
    size_t n_common;
    struct tr_json_value created_at;
    bool historical, has_batch;
};

/* "posthog-node/5.70.0" becomes two properties. */
static enum tr_rc take_sdk_info(struct request *q, struct tr_err *err)
{
    struct tr_str version;
    struct tr_str name = tr_str_cut(tr_str_trim(q->in->sdk_info), '/', &version);
    struct tr_buf *b = &q->s->lib;

    if (name.n == 0)
        return TR_OK;
    tr_buf_clear(b);
    tr_buf_json_str(b, name);
    size_t name_n = b->n;
    if (version.n > 0)
        tr_buf_json_str(b, version);
    if (b->failed)
        return tr_fail_oom(err);
    struct tr_json_value v = { .type = TR_JSON_STRING, .raw = { b->p, name_n } };
    q->common[q->n_common++] = (struct tr_addition){ TR_PROPERTY_LIB, v };
    v.raw = (struct tr_str){ b->p + name_n, b->n - name_n };
    if (version.n > 0)
        q->common[q->n_common++] = (struct tr_addition){ TR_PROPERTY_LIB_VERSION, v };
    return TR_OK;
}

enum { MAX_OWN = 8 };

/* Everything that version 0 had as properties. */
static size_t additions_of(const struct request *q, const struct tr_reading *r,
                           struct tr_addition ret[MAX_OWN])
{
    const struct tr_addition own[] = {
        { TR_PROPERTY_SESSION_ID, r->session_id },
        { TR_PROPERTY_WINDOW_ID, r->window_id },
        { TR_PROPERTY_PROCESS_PERSON_PROFILE, r->profile },
        { TR_PROPERTY_COOKIELESS_MODE, r->cookieless },
        { TR_PROPERTY_PRODUCT_TOUR_ID, r->tour },
    };
    size_t n = 0;

    for (size_t i = 0; i < q->n_common; i++)
        ret[n++] = q->common[i];
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (own[i].value.raw.p != NULL && own[i].value.type != TR_JSON_NULL)
            ret[n++] = own[i];
    return n;
}

static enum tr_rc add_verdict(struct request *q, const struct tr_capture_verdict *v,
                              struct tr_err *err)
{
    if (tr_scratch_reserve(q->s, &q->s->verdicts, sizeof(*v), err) != TR_OK)
        return err->rc;
    tr_buf_add(&q->s->verdicts, v, sizeof(*v));
    q->out->n_verdicts++;
    return TR_OK;
}

static enum tr_rc add_event(struct request *q, const struct tr_reading *r, struct tr_err *err)
{
    const struct tr_refusal *refusal = NULL;
    struct tr_capture_verdict v = { .index = q->out->events };
    struct tr_addition additions[MAX_OWN];

    if (!tr_event_uuid(q->s, r, &v.uuid))
        return tr_fail(err, TR_INVALID, "capture.no_uuid", NULL,
                       "batch[%u] has no valid uuid: its result could not be told",
                       (unsigned)q->out->seen - 1);
    if (tr_event_dropped(r)) {
        q->out->ignored++;
        v.refused = true;
        v.details = "performance events are not kept";
        return add_verdict(q, &v, err);
    }
    size_t n = additions_of(q, r, additions);
    if (tr_event_add(q->s, q->in, r, false, additions, n, q->out, &refusal, err) != TR_OK)
        return err->rc;
    v.refused = refusal != NULL;
    v.details = refusal == NULL                    ? NULL
                : refusal == &tr_refusal_misrouted ? "misrouted_event"
                                                   : refusal->text;
    return add_verdict(q, &v, err);
}

static void forget_events(struct request *q)
{
    q->out->rows->n = q->s->rows_before;
    q->out->seen = q->out->events = q->out->ignored = q->out->n_verdicts = 0;
    tr_buf_clear(&q->s->at);
    tr_buf_clear(&q->s->pending);
    tr_buf_clear(&q->s->verdicts);
}

static enum tr_rc read_batch(struct request *q, struct tr_err *err)
{
    struct tr_reading r;
    bool more;
    bool object;

    forget_events(q);
    q->has_batch = true;
    if (tr_json_open_array(&q->j, err) != TR_OK)
        return err->rc;
    for (;;) {
        if (tr_json_element_at(&q->j, &more, err) != TR_OK)
            return err->rc;
        if (!more)
            return TR_OK;
        if (tr_event_read(q->s, &q->j, &r, &object, err) != TR_OK)
            return err->rc;
        q->out->seen++;
        if (!object)
            return tr_fail(err, TR_INVALID, tr_refusal_no_object.id, NULL, "batch[%u] %s",
                           (unsigned)q->out->seen - 1, tr_refusal_no_object.text);
        if (add_event(q, &r, err) != TR_OK)
            return err->rc;
    }
}

static enum tr_rc read_request(struct request *q, struct tr_str text, struct tr_err *err)
{
    struct tr_json_value key;
    struct tr_json_value value;
    bool more;

    tr_request_json(q->in, text, &q->j);
    if (tr_json_open_object(&q->j, err) != TR_OK)
        return err->rc;
    for (;;) {
        if (tr_json_member_key(&q->j, &key, &more, err) != TR_OK)
            return err->rc;
        if (!more)
            break;
        if (tr_json_text_is(&key, TR_STR("batch"))) {
            if (read_batch(q, err) != TR_OK)
                return err->rc;
            continue;
        }
        if (tr_json_next(&q->j, &value, err) != TR_OK)
            return err->rc;
        if (tr_json_text_is(&key, TR_STR("created_at")))
            q->created_at = value;
        else if (tr_json_text_is(&key, TR_STR("historical_migration")))
            q->historical = value.type == TR_JSON_TRUE;
    }
    if (tr_json_end(&q->j, err) != TR_OK)
        return err->rc;
    if (!q->has_batch || q->out->seen == 0)
        return tr_fail(err, TR_INVALID, "capture.empty_batch", NULL, "the request has no events");
    return TR_OK;
}

static enum tr_rc capture(struct request *q, tr_token_lookup *lookup, void *lookup_arg,
                          struct tr_err *err)
{
    struct tr_request_facts facts = { 0 };
    struct tr_json_value ip;
    struct tr_str text;

    if (tr_ip_value(q->s, q->in->ip, &ip))
        q->common[q->n_common++] = (struct tr_addition){ TR_PROPERTY_IP, ip };
    if (take_sdk_info(q, err) != TR_OK ||
        tr_token_resolve(q->s, q->in->bearer, lookup, lookup_arg, q->out, err) != TR_OK ||
        tr_payload_v1(q->s, q->in, &text, err) != TR_OK || read_request(q, text, err) != TR_OK)
        return err->rc;
    facts.historical = q->historical;
    facts.has_sent_at = tr_when_parse(q->in->request_time, &facts.sent_at) ||
                        tr_sent_at_of(q->s, &q->created_at, &facts.sent_at);
    tr_events_settle(q->s, q->in, &facts, q->out);
    q->out->verdicts = (struct tr_capture_verdict *)(void *)q->s->verdicts.p;
    return TR_OK;
}

enum tr_rc tr_capture_posthog_v1(const struct tr_capture_in *in, tr_token_lookup *lookup,
                                 void *lookup_arg, struct tr_capture_scratch *scratch,
                                 struct tr_capture_out *out, struct tr_err *err)
{
    struct tr_err unread;
    struct request q = { .in = in, .s = scratch, .out = out };

    tr_request_begin(scratch, in, out);
    if (err == NULL)
        err = &unread;
    return tr_request_end(scratch, out, capture(&q, lookup, lookup_arg, err), err);
}
