/* The adapter as tests use it: configured from JSON, steps that may fail kept as results. */
#ifndef TR_TEST_PEER_POSTGRES_LOADER_H
#define TR_TEST_PEER_POSTGRES_LOADER_H

#include <jansson.h>

#include "dest/postgres/postgres.h"
#include "rows.h"

enum { LOADER_REJECTS = 64, LOADER_NOTICES = 32 };

struct loader {
    struct tr_conf *conf;
    struct tr_dest *dest;
    struct tr_err err; /* of the last step that failed */
    struct tr_receipt receipt;
    struct tr_notice_sink notice_sink;
    char notices[LOADER_NOTICES][256];
    size_t n_notices;
    struct tr_reject_sink reject_sink;
    struct {
        struct tr_uuid uuid;
        char reason[256];
    } rejects[LOADER_REJECTS];
    size_t n_rejects;
};

/* config: of server_fresh(), changed as the test likes; consumed. The configuration must be valid.
 */
struct loader *loader_new(json_t *config);
void loader_free(struct loader *l);

struct tr_ctx loader_time(int64_t ms);

/* names NULL: the default list. */
enum tr_rc loader_prepare(struct loader *l, const char *const *names);
enum tr_rc loader_begin(struct loader *l, const struct tr_key *key, bool careful,
                        struct tr_load **ret);
/* begin, write, commit; aborts when a step fails. */
enum tr_rc loader_deliver(struct loader *l, const struct tr_key *key, const struct tr_batch *b,
                          bool careful);
/* The same, careful when the server has refused rows, as delivery does it. */
enum tr_rc loader_deliver_all(struct loader *l, const struct tr_key *key, const struct tr_batch *b);
enum tr_rc loader_lookup(struct loader *l, const struct tr_key *key, int64_t ms,
                         enum tr_chunk_state *ret);
/* A step of the connection's test, for an export of a model's default columns. */
enum tr_rc loader_test(struct loader *l, enum tr_model model, size_t step);
bool loader_noticed(const struct loader *l, const char *part);

/* A TCP proxy in front of the server. Ends with proxy_stop. */
struct proxy;
enum proxy_fault {
    PROXY_NONE,
    PROXY_LOSE_COMMIT_ANSWER, /* forwards COMMIT, waits for the answer, drops it and both sides */
    PROXY_CUT_AT_COMMIT, /* forwards COMMIT and resets the client at once; the server goes on */
    PROXY_LOSE_COMMIT,   /* drops COMMIT itself: the server never sees it */
    PROXY_STALL,         /* forwards nothing any more, closes nothing */
};
struct proxy *proxy_start(void);
int proxy_port(const struct proxy *p);
/* Bytes that went to the server. */
uint64_t proxy_sent(const struct proxy *p);
void proxy_set(struct proxy *p, enum proxy_fault fault);
void proxy_stop(struct proxy *p);

#endif
