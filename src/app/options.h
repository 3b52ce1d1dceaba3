/* The options of `tailrace serve` as one table: --name VALUE, or TAILRACE_NAME in the environment.
 * The table feeds parsing, --help and docs/configuration.md (a test compares them). */
#ifndef TR_APP_OPTIONS_H
#define TR_APP_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct app_options {
    const char *data, *listen, *trusted_proxies, *log_level;
    const char *egress, *allow_hosts, *iam_hosts, *google_identity;
    int64_t loops, workers, waiting, live_workers, api_workers;
    int64_t max_connections, max_header_bytes, drain_bytes;
    int64_t body_budget, inline_body_bytes, queue_bytes;
    int64_t max_batch_bytes, max_event_bytes, max_ai_event_bytes, max_api_body_bytes;
    int64_t hold_us, body_timeout_us, idle_timeout_us, answer_timeout_us, grace_us;
    int64_t dedup_age_us, dedup_events, min_free_bytes, max_clock_jump_us;
    int64_t segment_bytes, seal_bytes, seal_age_us, block_bytes, state_cache_bytes, state_commit_us;
    int64_t chunk_rows, chunk_bytes, lease_us, quiet_us, keep_runs_us, keep_quiet_us, patience_us;
    bool accept_clock, restored;
};

/* argv[0] is "serve". False: usage was wrong (said on stderr). *ret_help: --help was asked for and
 * printed. Texts point into argv or the environment. */
bool app_options_read(int argc, char **argv, struct app_options *ret, bool *ret_help);

/* The numbers that a person may write: "20MiB", "1500", "7d", "90s". False when it is none,
 * negative or too large. Exposed for tests. */
bool app_read_bytes(const char *text, int64_t *ret);
bool app_read_duration(const char *text, int64_t *ret_us);

#endif
