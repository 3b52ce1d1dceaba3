/* The frame of a request, and what its end says about all of its events. */
#include <stdio.h>

#include "base/time.h"
#include "capture/capture_priv.h"
#include "capture/when.h"

void tr_request_begin(struct tr_capture_scratch *s, const struct tr_capture_in *in,
                      struct tr_capture_out *out)
{
    *out = (struct tr_capture_out){ .rows = out->rows };
    tr_scratch_begin(s, in);
    s->rows_before = out->rows->n;
}

enum tr_rc tr_request_end(struct tr_capture_scratch *s, struct tr_capture_out *out, enum tr_rc rc,
                          struct tr_err *err)
{
    if (s->no_memory)
        rc = tr_fail_oom(err);
    out->at = (uint32_t *)(void *)s->at.p;
    if (rc != TR_OK) {
        out->rows->n = s->rows_before;
        out->rows->failed = false;
        out->events = 0;
        out->n_verdicts = 0;
        out->no_memory_now = rc == TR_THROTTLED;
    }
    tr_scratch_end(s);
    return rc;
}

void tr_request_json(const struct tr_capture_in *in, struct tr_str text, struct tr_json *ret)
{
    tr_json_init(ret, text);
    if (in->max_depth < TR_JSON_MAX_DEPTH)
        ret->max_depth = (uint32_t)in->max_depth;
}

bool tr_ip_value(struct tr_capture_scratch *s, const char *ip, struct tr_json_value *ret)
{
    if (ip == NULL || ip[0] == '\0')
        return false;
    tr_buf_clear(&s->ip);
    tr_buf_json_str(&s->ip, tr_str_of(ip));
    *ret = (struct tr_json_value){ .type = TR_JSON_STRING, .raw = tr_buf_view(&s->ip) };
    s->no_memory |= s->ip.failed;
    return !s->ip.failed;
}

/* ---- token ---- */

enum { MAX_TOKEN_CHARS = 64 };

static enum tr_rc bad_token(struct tr_err *err, const char *text, const char *hint)
{
    return tr_fail(err, TR_INVALID, "capture.bad_token", hint, "%s", text);
}

static bool is_plain_ascii(struct tr_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80 || s.p[i] == '\0')
            return false;
    return true;
}

enum tr_rc tr_token_resolve(struct tr_capture_scratch *s, struct tr_str token,
                            tr_token_lookup *lookup, void *lookup_arg, struct tr_capture_out *out,
                            struct tr_err *err)
{
    token = tr_str_trim(token);
    if (token.n == 0)
        return tr_fail(err, TR_INVALID, "capture.no_token",
                       "set the project's capture token as api_key",
                       "the request names no project: api_key is missing or empty");
    if (token.n > MAX_TOKEN_CHARS)
        return bad_token(err, "the api_key is longer than 64 characters", NULL);
    if (!is_plain_ascii(token))
        return bad_token(err, "the api_key has characters outside ASCII", NULL);
    if (tr_str_starts(token, TR_STR("phx_")))
        return bad_token(err, "the api_key is a personal key (phx_), not a project's capture token",
                         "use the project's capture token; a personal key must stay secret");

    /* token may be a view into this very buffer. */
    char copy[MAX_TOKEN_CHARS];
    memcpy(copy, token.p, token.n);
    tr_buf_clear(&s->token);
    tr_buf_add(&s->token, copy, token.n);
    if (s->token.failed)
        return tr_fail_oom(err);
    out->token = tr_buf_view(&s->token);
    if (!lookup(lookup_arg, out->token, &out->project))
        return tr_fail(err, TR_INVALID, "capture.unknown_token",
                       "make a project with this token, or use the token of an existing one",
                       "no project has this api_key");
    return TR_OK;
}

/* ---- time ---- */

#define MAX_AHEAD (23 * TR_US_PER_HOUR)

bool tr_sent_at_of(struct tr_capture_scratch *s, const struct tr_json_value *v, int64_t *ret)
{
    if (v->raw.p == NULL)
        return false;
    if (v->type == TR_JSON_NUMBER)
        return tr_when_number(v->raw, ret);
    if (v->type != TR_JSON_STRING)
        return false;
    struct tr_str text = tr_scratch_text(s, v, &s->text);
    return text.p != NULL && tr_when_parse(text, ret);
}

static int64_t event_time(const struct tr_pending *p, const struct tr_request_facts *facts,
                          int64_t now)
{
    int64_t t = now;

    switch (p->time_kind) {
    case TR_TIME_NONE:
        break;
    case TR_TIME_CLIENT:
        t = p->time;
        if (facts->has_sent_at && !p->no_skew)
            t -= facts->sent_at - now;
        break;
    case TR_TIME_AGE:
        t = now - p->time;
        break;
    }
    if (t > now + MAX_AHEAD)
        t = now;
    return t < TR_TIME_MIN || t > TR_TIME_MAX ? 0 : t;
}

/* ---- ids ---- */

/* The namespace of ids made from an event's bytes. Fixed for ever: another one would make every
 * re-send across an upgrade a new event. */
static const struct tr_uuid space_of_events = { { 0x3b, 0x8e, 0x0c, 0x5d, 0x91, 0x47, 0x4f, 0x2a,
                                                  0xa6, 0xd3, 0x52, 0xee, 0x17, 0xc9, 0x74,
                                                  0x6b } };

static void make_uuid(const struct tr_capture_in *in, const struct tr_capture_out *out,
                      const struct tr_pending *p, int64_t time, uint32_t index, struct tr_uuid *ret)
{
    if (p->raw.p != NULL) {
        char project[16];
        int n = snprintf(project, sizeof(project), "%d:", (int)out->project);
        tr_uuid_v5_joined(&space_of_events, (struct tr_str){ project, (size_t)n }, p->raw, ret);
        return;
    }
    uint8_t random[10];
    memcpy(random, in->random, sizeof(random));
    for (int i = 0; i < 4; i++)
        random[6 + i] ^= (uint8_t)(index >> (8 * i));
    tr_uuid_v7(time < 0 ? 0 : time / TR_US_PER_MS, random, ret);
}

void tr_events_settle(struct tr_capture_scratch *s, const struct tr_capture_in *in,
                      const struct tr_request_facts *facts, struct tr_capture_out *out)
{
    for (uint32_t i = 0; i < out->events; i++) {
        struct tr_pending p;
        uint32_t at;
        struct tr_uuid made;

        memcpy(&p, s->pending.p + i * sizeof(p), sizeof(p));
        memcpy(&at, s->at.p + i * sizeof(at), sizeof(at));
        int64_t time = event_time(&p, facts, in->now);
        if (p.made_uuid)
            make_uuid(in, out, &p, time, i, &made);
        tr_event_settle(out->rows->p + at, out->project, time,
                        facts->historical ? TR_EVENT_HISTORICAL : 0, p.made_uuid ? &made : NULL);
    }
}
