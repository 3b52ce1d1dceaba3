#include "net/http_client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "base/metric.h"
#include "base/time.h"
#include "net/http_policy.h"
#include "os/clock.h"

TR_COUNTER(calls, "tailrace_http_client_calls_total", "Requests made to other servers.");
TR_COUNTER(failures, "tailrace_http_client_failures_total",
           "Requests to other servers that got no answer.");

enum { SLICE_MS = 100, SILENCE_S = 60, CONNECT_S = 20, KEPT_CONNECTIONS = 4 };

struct tr_http_client {
    CURLM *multi;
    CURL *easy;
    char text[CURL_ERROR_SIZE]; /* libcurl's words about a failure: hosts, ports, certificates */

    /* of the call that is under way: */
    const struct tr_http_call *call;
    struct tr_http_answer *answer;
    struct tr_url url;
    const char *refusal; /* why an address was refused, or NULL */
};

/* ---- libcurl's questions ---- */

static size_t take_body(char *p, size_t size, size_t n, void *arg)
{
    struct tr_http_client *c = arg;

    tr_buf_add(&c->answer->body, p, size * n);
    return c->answer->body.failed ? 0 : size * n;
}

static void keep_header(struct tr_str line, const char *name, char *out, size_t cap)
{
    struct tr_str value;
    struct tr_str key = tr_str_cut(line, ':', &value);

    if (value.p == NULL || !tr_str_eq_nocase(tr_str_trim(key), tr_str_of(name)))
        return;
    value = tr_str_trim(value);
    if (value.n < cap) {
        memcpy(out, value.p, value.n);
        out[value.n] = '\0';
    }
}

static void forget_headers(struct tr_http_answer *a)
{
    a->location[0] = a->range[0] = a->retry_after[0] = a->date[0] = '\0';
}

static size_t take_header(char *p, size_t size, size_t n, void *arg)
{
    struct tr_http_client *c = arg;
    struct tr_http_answer *a = c->answer;
    struct tr_str line = { p, size * n };

    if (tr_str_starts(line, TR_STR("HTTP/"))) /* what came before was 1xx */
        forget_headers(a);
    keep_header(line, "Location", a->location, sizeof(a->location));
    keep_header(line, "Range", a->range, sizeof(a->range));
    keep_header(line, "Retry-After", a->retry_after, sizeof(a->retry_after));
    keep_header(line, "Date", a->date, sizeof(a->date));
    return size * n;
}

/* The address is known now, and nothing has been sent to it yet. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct tr_http_client *c = arg;
    const char *why = tr_egress_refusal(&c->url, &address->addr, c->call->metadata);

    (void)purpose;
    if (why != NULL) {
        c->refusal = why;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- set up ---- */

static void global_init(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

void tr_http_client_free(struct tr_http_client *c)
{
    if (c == NULL)
        return;
    curl_easy_cleanup(c->easy);
    (void)curl_multi_cleanup(c->multi);
    free(c);
}

enum tr_rc tr_http_client_new(struct tr_http_client **ret, struct tr_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct tr_http_client *c = calloc(1, sizeof(*c));

    (void)pthread_once(&once, global_init);
    if (c == NULL)
        return tr_fail_oom(err);
    c->multi = curl_multi_init();
    c->easy = curl_easy_init();
    if (c->multi == NULL || c->easy == NULL) {
        tr_http_client_free(c);
        return tr_fail_oom(err);
    }
    (void)curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS);
    *ret = c;
    return TR_OK;
}

/* What every call has in common. */
static void set_up(struct tr_http_client *c)
{
    CURL *e = c->easy;

    curl_easy_reset(e); /* connections and TLS sessions stay */
    (void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->text);
    (void)curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(e, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    (void)curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    (void)curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    (void)curl_easy_setopt(e, CURLOPT_USERAGENT, "tailrace/" TR_VERSION);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, take_body);
    (void)curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
    (void)curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, take_header);
    (void)curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
    (void)curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    (void)curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, c);
}

static void set_call(struct tr_http_client *c, const struct tr_http_call *call,
                     struct curl_slist *headers)
{
    CURL *e = c->easy;
    int64_t silence_s = call->silence_us == 0 ? SILENCE_S : call->silence_us / TR_US_PER_S;

    (void)curl_easy_setopt(e, CURLOPT_URL, call->url);
    (void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, call->method);
    (void)curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)(silence_s < 1 ? 1 : silence_s));
    if (call->body.p != NULL) {
        (void)curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.n);
        (void)curl_easy_setopt(e, CURLOPT_POSTFIELDS, call->body.p);
    }
    if (call->metadata) { /* never from the pool, never into it */
        (void)curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
        (void)curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    }
}

/* ---- one call ---- */

/* NULL without memory. What libcurl would add of its own accord is taken out: Expect costs a round
 * trip before each body, a content type is the caller's to say. */
static struct curl_slist *header_list(const struct tr_http_call *call)
{
    static const char *const none[] = { "Expect:", "Content-Type:" };
    struct curl_slist *list = NULL;

    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        struct curl_slist *longer = curl_slist_append(list, none[i]);
        if (longer == NULL) {
            curl_slist_free_all(list);
            return NULL;
        }
        list = longer;
    }
    for (const char *const *h = call->headers; h != NULL && *h != NULL && list != NULL; h++) {
        struct curl_slist *longer = curl_slist_append(list, *h);
        if (longer == NULL)
            curl_slist_free_all(list);
        list = longer;
    }
    return list;
}

/* Headers may hold secrets, and libcurl keeps copies. */
static void wipe_list(struct curl_slist *list)
{
    for (struct curl_slist *l = list; l != NULL; l = l->next)
        explicit_bzero(l->data, strlen(l->data));
    curl_slist_free_all(list);
}

/* The other end may have had all of it. */
static bool was_sent(const struct tr_http_client *c)
{
    long head = 0;
    curl_off_t body = 0;

    (void)curl_easy_getinfo(c->easy, CURLINFO_REQUEST_SIZE, &head);
    (void)curl_easy_getinfo(c->easy, CURLINFO_SIZE_UPLOAD_T, &body);
    return head > 0 && (size_t)body >= c->call->body.n;
}

static enum tr_rc fail_lost(const struct tr_http_client *c, const char *id, const char *cause,
                            struct tr_err *err)
{
    if (was_sent(c))
        return tr_fail(err, TR_AMBIGUOUS, "http.no_answer", NULL, "%s: %s", c->url.host, cause);
    return tr_fail(err, TR_TRANSIENT, id, NULL, "%s: %s", c->url.host, cause);
}

static enum tr_rc fail_tls(const struct tr_http_client *c, struct tr_err *err)
{
    return tr_fail(err, TR_REFUSED, "http.tls",
                   "the certificate must be valid for this host and signed by an authority that "
                   "this machine trusts",
                   "%s: %s", c->url.host, c->text);
}

static enum tr_rc classify(const struct tr_http_client *c, CURLcode code, struct tr_err *err)
{
    const char *text = c->text[0] == '\0' ? curl_easy_strerror(code) : c->text;
    const char *host = c->url.host;

    switch ((int)code) {
    case CURLE_OUT_OF_MEMORY:
        return tr_fail_oom(err);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return tr_fail(err, TR_INVALID, "http.url", NULL, "that is no URL");
    case CURLE_COULDNT_RESOLVE_HOST:
        return tr_fail(err, TR_TRANSIENT, "http.unknown_host",
                       "check the host name, and this machine's name servers",
                       "%s: the name does not resolve", host);
    case CURLE_COULDNT_CONNECT:
        if (c->refusal != NULL)
            return tr_fail(err, TR_REFUSED, "http.address_refused",
                           "the operator's --egress and --allow-hosts say where this server may "
                           "connect to",
                           "%s: not connected: %s", host, c->refusal);
        return tr_fail(err, TR_TRANSIENT, "http.unreachable", NULL, "%s: %s", host, text);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return fail_tls(c, err);
    case CURLE_WRITE_ERROR:
        return tr_fail(err, TR_AMBIGUOUS, "http.answer_too_big", NULL,
                       "%s: the answer is longer than %zu bytes", host, c->answer->body.max);
    case CURLE_OPERATION_TIMEDOUT:
        return fail_lost(c, "http.timeout", "no answer in time", err);
    default:
        return fail_lost(c, "http.reset", text, err);
    }
}

static enum tr_rc wait_for(const struct tr_ctx *cx, struct tr_http_client *c, CURLcode *ret,
                           struct tr_err *err)
{
    int running = 1;
    int left_in_queue;

    for (;;) {
        if (curl_multi_perform(c->multi, &running) != CURLM_OK)
            return tr_fail_oom(err);
        if (running == 0)
            break;
        int64_t left = cx->deadline_us - tr_clock_boot_us();
        if (tr_ctx_cancelled(cx))
            return tr_fail(err, TR_CANCELLED, "http.cancelled", NULL, "cancelled");
        if (left <= 0)
            return fail_lost(c, "http.timeout", "no answer in time", err);
        int slice = left > SLICE_MS * TR_US_PER_MS ? SLICE_MS : (int)(left / TR_US_PER_MS) + 1;
        (void)curl_multi_poll(c->multi, NULL, 0, slice, NULL);
    }
    CURLMsg *m = curl_multi_info_read(c->multi, &left_in_queue);
    *ret = m == NULL ? CURLE_RECV_ERROR : m->data.result;
    return TR_OK;
}

static enum tr_rc perform(const struct tr_ctx *cx, struct tr_http_client *c, struct tr_err *err)
{
    CURLcode code = CURLE_OK;
    long status = 0;

    if (curl_multi_add_handle(c->multi, c->easy) != CURLM_OK)
        return tr_fail_oom(err);
    tr_count(&calls, 1);
    enum tr_rc rc = wait_for(cx, c, &code, err);
    if (rc == TR_OK && code != CURLE_OK)
        rc = classify(c, code, err);
    if (rc == TR_OK) {
        (void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
        c->answer->status = (int)status;
    } else {
        tr_count(&failures, 1);
    }
    /* A call that is still under way loses its connection here. */
    (void)curl_multi_remove_handle(c->multi, c->easy);
    return rc;
}

enum tr_rc tr_http_client_call(const struct tr_ctx *cx, struct tr_http_client *c,
                               const struct tr_http_call *call, struct tr_http_answer *ret,
                               struct tr_err *err)
{
    tr_buf_clear(&ret->body);
    ret->status = 0;
    forget_headers(ret);
    if (tr_ctx_cancelled(cx))
        return tr_fail(err, TR_CANCELLED, "http.cancelled", NULL, "cancelled");
    enum tr_rc rc = tr_url_parse(call->url, &c->url, err);
    if (rc != TR_OK)
        return rc;
    struct curl_slist *headers = header_list(call);
    if (headers == NULL)
        return tr_fail_oom(err);
    c->call = call;
    c->answer = ret;
    c->refusal = NULL;
    c->text[0] = '\0';
    set_up(c);
    set_call(c, call, headers);
    rc = perform(cx, c, err);
    curl_easy_reset(c->easy);
    wipe_list(headers);
    c->call = NULL;
    c->answer = NULL;
    return rc;
}

/* ---- dates ---- */

bool tr_http_date_parse(const char *text, int64_t *ret)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tr_civil t = { 0 };
    char month[4] = "";
    int used = 0;

    if (strlen(text) != 29 ||
        sscanf(text + 4, " %2d %3s %4d %2d:%2d:%2d GMT%n", &t.day, month, &t.year, &t.hour,
               &t.minute, &t.second, &used) != 6 ||
        used != 25)
        return false;
    const char *at = strstr(months, month);
    if (strlen(month) != 3 || at == NULL || (at - months) % 3 != 0)
        return false;
    t.month = (int)(at - months) / 3 + 1;
    if (!tr_civil_valid(t.year, t.month, t.day) || t.hour < 0 || t.hour > 23 || t.minute < 0 ||
        t.minute > 59 || t.second < 0 || t.second > 60)
        return false;
    if (t.second == 60)
        t.second = 59;
    *ret = tr_time_from_civil(&t);
    return true;
}
