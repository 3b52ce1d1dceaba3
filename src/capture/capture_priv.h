/* What the files of this folder share: scratch memory, the decoded payload, one event as it is
 * read. None of it is for other folders. */
#ifndef TR_CAPTURE_CAPTURE_PRIV_H
#define TR_CAPTURE_CAPTURE_PRIV_H

#define ZLIB_CONST /* z_stream.next_in is only read */
#include <zlib.h>
#include <zstd.h>

#include "base/json.h"
#include "capture/capture.h"

/* ---- scratch.c ---- */

/* Buffers keep this much between requests; it is not charged to the budget. */
enum { TR_CAPTURE_KEEP = 256 * 1024 };

/* An event that waits for the end of its request: the envelope may name token and sent_at last. */
struct tr_pending {
    int64_t time;      /* the client's instant, or the age in microseconds */
    struct tr_str raw; /* the event's JSON, where the id is made from it */
    enum { TR_TIME_NONE, TR_TIME_CLIENT, TR_TIME_AGE } time_kind;
    bool no_skew, made_uuid;
};

struct tr_capture_scratch {
    struct tr_buf form;                                 /* data= without its percent signs */
    struct tr_buf decoded[2];                           /* the steps of decoding, in turns */
    struct tr_buf units, words;                         /* LZ-string: UTF-16 text and dictionary */
    struct tr_buf properties;                           /* those of one event, edited */
    struct tr_buf merged[2];                            /* $set and $set_once of one event */
    struct tr_buf keys;                                 /* a hash table of the keys of an object */
    struct tr_buf key, event, distinct_id, token, text; /* unescaped strings */
    struct tr_buf ip, lib;                              /* JSON strings made here */
    struct tr_buf at, pending, verdicts;                /* arrays of the request's events */
    z_stream inflater;
    bool inflater_ready;
    ZSTD_DCtx *zstd;
    struct tr_budget *budget; /* of the request at work */
    size_t max_inflated;      /* likewise */
    size_t rows_before;       /* bytes of other requests in out->rows */
    bool no_memory;           /* a string could not be unescaped: the whole request fails */
    uint64_t hash_seed;       /* nobody outside can make keys collide */
    size_t charged;
};

/* Around each request. end returns what was charged and lets go of what is too large to keep. */
void tr_scratch_begin(struct tr_capture_scratch *s, const struct tr_capture_in *in);
void tr_scratch_end(struct tr_capture_scratch *s);

/* Room for n more bytes; what goes beyond TR_CAPTURE_KEEP is charged first. TR_THROTTLED
 * "capture.no_memory_now" when the budget is spent, TR_INVALID "capture.too_large" at b->max. */
TR_MUST_USE enum tr_rc tr_scratch_reserve(struct tr_capture_scratch *s, struct tr_buf *b, size_t n,
                                          struct tr_err *err);

/* tr_json_text. p == NULL: the text is longer than tmp may be, which is the caller's to judge, or
 * memory ran out, which fails the request in its end whatever the caller made of it. */
struct tr_str tr_scratch_text(struct tr_capture_scratch *s, const struct tr_json_value *string,
                              struct tr_buf *tmp);

/* ---- form.c ---- */

/* The first value of a key in a query or form, as sent; p == NULL when absent. Keys are compared as
 * they are: those looked for need no percent signs. */
struct tr_str tr_form_get(struct tr_str form, const char *key);

/* Percent signs resolved ('+' is a blank; a '%' without two hex digits stays). A view into value
 * when there is nothing to resolve. */
TR_MUST_USE enum tr_rc tr_form_decode(struct tr_capture_scratch *s, struct tr_str value,
                                      struct tr_buf *tmp, struct tr_str *ret, struct tr_err *err);

/* ---- base64.c, lzstring.c, inflate.c: each fills out from empty ---- */

/* Standard or URL-safe, padded or not; a blank is a plus. TR_INVALID "capture.bad_base64". */
TR_MUST_USE enum tr_rc tr_base64_decode(struct tr_capture_scratch *s, struct tr_str in,
                                        struct tr_buf *out, struct tr_err *err);

/* The text of a base64 character 0..63, or -1. */
int tr_base64_value(char c);

/* decompressFromBase64 of LZ-string; the UTF-16 text becomes UTF-8. TR_INVALID "capture.bad_lz64".
 */
TR_MUST_USE enum tr_rc tr_lzstring_decode(struct tr_capture_scratch *s, struct tr_str in,
                                          struct tr_buf *out, struct tr_err *err);

/* TR_INVALID "capture.bad_gzip", "capture.bad_deflate", "capture.bad_zstd". */
TR_MUST_USE enum tr_rc tr_gunzip(struct tr_capture_scratch *s, struct tr_str in, struct tr_buf *out,
                                 struct tr_err *err);
TR_MUST_USE enum tr_rc tr_inflate(struct tr_capture_scratch *s, struct tr_str in,
                                  struct tr_buf *out, struct tr_err *err);
TR_MUST_USE enum tr_rc tr_unzstd(struct tr_capture_scratch *s, struct tr_str in, struct tr_buf *out,
                                 struct tr_err *err);

/* ---- payload.c ---- */

/* The JSON text of a request: where it stands and what it is packed in is found out by looking.
 * ret points into the request or into scratch. */
TR_MUST_USE enum tr_rc tr_payload_v0(struct tr_capture_scratch *s, const struct tr_capture_in *in,
                                     struct tr_str *ret, struct tr_err *err);
TR_MUST_USE enum tr_rc tr_payload_v1(struct tr_capture_scratch *s, const struct tr_capture_in *in,
                                     struct tr_str *ret, struct tr_err *err);

/* ---- properties.c ---- */

enum tr_property {
    TR_PROPERTY_SET,
    TR_PROPERTY_SET_ONCE,
    TR_PROPERTY_IP,
    TR_PROPERTY_ELEMENTS_CHAIN,
    TR_PROPERTY_TOKEN,
    TR_PROPERTY_DISTINCT_ID,
    TR_PROPERTY_IGNORE_SENT_AT,
    TR_PROPERTY_LIB,
    TR_PROPERTY_LIB_VERSION,
    TR_PROPERTY_SESSION_ID,
    TR_PROPERTY_WINDOW_ID,
    TR_PROPERTY_PROCESS_PERSON_PROFILE,
    TR_PROPERTY_COOKIELESS_MODE,
    TR_PROPERTY_PRODUCT_TOUR_ID,
    TR_PROPERTY_OS,
    TR_PROPERTY_OS_NAME,
    TR_PROPERTY_IS_SERVER,
    TR_N_PROPERTIES,
};

/* The properties of one event, read once. A value with raw.p == NULL is not there. */
struct tr_properties {
    enum tr_json_type type; /* of the value itself; TR_JSON_NULL also when absent */
    struct tr_str raw;
    uint32_t flags, depth;
    bool empty; /* no members */
    struct tr_json_value known[TR_N_PROPERTIES];
};

/* Scans the value j stands at. */
TR_MUST_USE enum tr_rc tr_properties_read(struct tr_capture_scratch *s, struct tr_json *j,
                                          struct tr_properties *ret, struct tr_err *err);

/* A value to put into the properties. */
struct tr_addition {
    enum tr_property name;
    struct tr_json_value value;
};

/* Fills properties, spans and JSON flags of e. $set and $set_once are merged with those that are
 * there, everything else is added only where there is none. e->properties points to p or scratch.
 */
TR_MUST_USE enum tr_rc tr_properties_build(struct tr_capture_scratch *s,
                                           const struct tr_properties *p,
                                           const struct tr_addition *additions, size_t n,
                                           struct tr_event *e, struct tr_err *err);

/* ---- merge.c ---- */

/* The members of under that over has no key for, then all of over. Both are valid objects. */
TR_MUST_USE enum tr_rc tr_merge_objects(struct tr_capture_scratch *s, struct tr_str under,
                                        struct tr_str over, struct tr_buf *out, struct tr_err *err);

/* ---- event.c ---- */

/* One event as it stands in the request. A value with raw.p == NULL is not there. */
struct tr_reading {
    struct tr_str raw;
    struct tr_json_value event, distinct_id, uuid, timestamp, offset, token, set, set_once;
    struct tr_json_value session_id, window_id;              /* v1 */
    struct tr_json_value profile, cookieless, tour, no_skew; /* v1: inside options */
    struct tr_properties properties;
};

/* Why an event is refused: static text that goes on after the event's name, "has no .." */
struct tr_refusal {
    const char *id;
    const char *text;
};
extern const struct tr_refusal tr_refusal_no_object, tr_refusal_too_large, tr_refusal_misrouted;

/* Reads the member value that j stands at; keys nobody knows are scanned and forgotten. */
TR_MUST_USE enum tr_rc tr_event_read_member(struct tr_capture_scratch *s, struct tr_json *j,
                                            const struct tr_json_value *key, struct tr_reading *r,
                                            struct tr_err *err);

/* Reads the whole value that j stands at; *ret_object is false when it is no object. */
TR_MUST_USE enum tr_rc tr_event_read(struct tr_capture_scratch *s, struct tr_json *j,
                                     struct tr_reading *ret, bool *ret_object, struct tr_err *err);

/* The token an event carries itself (type string), or raw.p == NULL. */
struct tr_json_value tr_event_token(const struct tr_reading *r);

/* The id the client gave. False for none, an invalid one, and the nil uuid: that is what a broken
 * generator sends for everything. */
bool tr_event_uuid(struct tr_capture_scratch *s, const struct tr_reading *r, struct tr_uuid *ret);

/* "$performance_event": dropped without a word, as the real server does. */
bool tr_event_dropped(const struct tr_reading *r);

/* Applies the rules and appends the packed event to out->rows, its offset and its pending part to
 * scratch. *ret_refusal != NULL: the event is bad and nothing was appended. */
TR_MUST_USE enum tr_rc tr_event_add(struct tr_capture_scratch *s, const struct tr_capture_in *in,
                                    const struct tr_reading *r, bool engage,
                                    const struct tr_addition *additions, size_t n_additions,
                                    struct tr_capture_out *out,
                                    const struct tr_refusal **ret_refusal, struct tr_err *err);

/* ---- settle.c ---- */

/* What the whole request says about its events. */
struct tr_request_facts {
    bool has_sent_at, historical;
    int64_t sent_at;
};

/* sent_at as a value of the envelope or as text; false when it says nothing. */
bool tr_sent_at_of(struct tr_capture_scratch *s, const struct tr_json_value *v, int64_t *ret);

/* Gives every event added its project, its time and, where the client gave none, its id. */
void tr_events_settle(struct tr_capture_scratch *s, const struct tr_capture_in *in,
                      const struct tr_request_facts *facts, struct tr_capture_out *out);

/* refused.c: sets out->project and out->seen for a request that was refused, when it can be read.
 */
void tr_refused_count(struct tr_capture_scratch *s, const struct tr_capture_in *in,
                      struct tr_str text, tr_token_lookup *lookup, void *lookup_arg,
                      struct tr_capture_out *out);

/* Trims and checks a token, then asks lookup. Fills out->token and out->project. */
TR_MUST_USE enum tr_rc tr_token_resolve(struct tr_capture_scratch *s, struct tr_str token,
                                        tr_token_lookup *lookup, void *lookup_arg,
                                        struct tr_capture_out *out, struct tr_err *err);

/* The client's address as a JSON string, in scratch; false when there is none. */
bool tr_ip_value(struct tr_capture_scratch *s, const char *ip, struct tr_json_value *ret);

/* Around a request of any dialect: scratch, out and, on failure, rows as they were. */
void tr_request_begin(struct tr_capture_scratch *s, const struct tr_capture_in *in,
                      struct tr_capture_out *out);
TR_MUST_USE enum tr_rc tr_request_end(struct tr_capture_scratch *s, struct tr_capture_out *out,
                                      enum tr_rc rc, struct tr_err *err);

/* A reader of the request's text with its limit of nesting. */
void tr_request_json(const struct tr_capture_in *in, struct tr_str text, struct tr_json *ret);

#endif
