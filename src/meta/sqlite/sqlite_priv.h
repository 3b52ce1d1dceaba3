/* Private parts of the SQLite adapter: which file has which verbs. Every function of the table is
 * one transaction; those that are not in the table run inside the caller's. */
#ifndef TR_META_SQLITE_PRIV_H
#define TR_META_SQLITE_PRIV_H

#include <stdio.h>

#include "meta/sqlite/sql_priv.h"

/* migrate.c */
/* The schema number of the file; refuses other programs' files and newer ones. Writes nothing. */
TR_MUST_USE enum tr_rc meta_check(struct meta *m, int64_t *ret_version, struct tr_err *err);
TR_MUST_USE enum tr_rc meta_migrate(struct meta *m, int64_t version, struct tr_err *err);

/* identity.c: identity, tokens, projects */
enum tr_rc meta_identity(struct tr_meta *, struct tr_uuid *, struct tr_uuid *, struct tr_err *);
enum tr_rc meta_token_add(struct tr_meta *, const uint8_t[32], const char *, struct tr_err *);
enum tr_rc meta_token_known(struct tr_meta *, const uint8_t[32], bool *, struct tr_err *);
enum tr_rc meta_token_any(struct tr_meta *, bool *, struct tr_err *);
enum tr_rc meta_project_create(struct tr_meta *, const char *, const char *, struct tr_project *,
                               struct tr_err *);
enum tr_rc meta_project_get(struct tr_meta *, int32_t, struct tr_project *, struct tr_err *);
enum tr_rc meta_project_list(struct tr_meta *, bool (*)(void *, const struct tr_project *), void *,
                             struct tr_err *);

/* epoch.c */
enum tr_rc meta_epoch_begin(struct tr_meta *, uint32_t, int64_t, struct tr_err *);
enum tr_rc meta_epoch_list(struct tr_meta *, struct tr_epoch **, size_t *, struct tr_err *);

/* export.c */
enum tr_rc meta_export_create(struct tr_meta *, struct tr_export *, struct tr_str, struct tr_str,
                              struct tr_err *);
enum tr_rc meta_export_update(struct tr_meta *, struct tr_export *, struct tr_str, struct tr_str,
                              struct tr_err *);
enum tr_rc meta_export_get(struct tr_meta *, const struct tr_uuid *, struct tr_export_row *,
                           struct tr_err *);
enum tr_rc meta_export_list(struct tr_meta *, int32_t,
                            bool (*)(void *, const struct tr_export_row *), void *,
                            struct tr_err *);
enum tr_rc meta_export_pause(struct tr_meta *, const struct tr_uuid *, bool, int64_t,
                             struct tr_err *);
enum tr_rc meta_export_delete(struct tr_meta *, const struct tr_uuid *, int64_t, struct tr_err *);

/* schedule.c: cursors, and runs that begin to exist */
enum tr_rc meta_cursor_get(struct tr_meta *, const struct tr_uuid *, int64_t *, struct tr_err *);
enum tr_rc meta_began_get(struct tr_meta *, const struct tr_uuid *, int64_t *, struct tr_err *);
enum tr_rc meta_cursor_set(struct tr_meta *, const struct tr_uuid *, int64_t, struct tr_err *);
enum tr_rc meta_run_schedule(struct tr_meta *, struct tr_run *, struct tr_err *);
enum tr_rc meta_run_backfill(struct tr_meta *, struct tr_run *, struct tr_err *);

/* claim.c: who works on what */
enum tr_rc meta_run_claim(struct tr_meta *, const char *, uint32_t, int64_t, int64_t,
                          struct tr_run *, bool *, int64_t *, struct tr_err *);
enum tr_rc meta_run_renew(struct tr_meta *, const struct tr_uuid *, int64_t, int64_t, bool *,
                          struct tr_err *);
enum tr_rc meta_run_release_all(struct tr_meta *, struct tr_err *);
/* TR_CANCELLED "meta.lost_claim" unless run is claimed under its fence. */
TR_MUST_USE enum tr_rc claim_check(struct meta *m, const struct tr_uuid *id, int64_t fence,
                                   struct tr_err *err);

/* plan.c */
enum tr_rc meta_run_taken(struct tr_meta *, const struct tr_run *, uint64_t, struct tr_range **,
                          size_t *, struct tr_err *);
enum tr_rc meta_plan_add(struct tr_meta *, const struct tr_run *, uint64_t, const struct tr_chunk *,
                         size_t, struct tr_err *);
enum tr_rc meta_plan_drop(struct tr_meta *, const struct tr_run *, struct tr_err *);
enum tr_rc meta_plan_get(struct tr_meta *, const struct tr_uuid *, struct tr_chunk **, size_t *,
                         struct tr_err *);
/* Takes the PLANNED chunks of every ended run away. Completed runs that had left such a part to the
 * ended one become STARTING again: nobody else would deliver it. */
TR_MUST_USE enum tr_rc plan_prune(struct meta *m, int64_t now, struct tr_err *err);
/* TR_TRANSIENT "meta.range_freed" when a part that others held has come free undelivered. */
TR_MUST_USE enum tr_rc plan_check_held(struct meta *m, const struct tr_run *run, uint64_t target,
                                       struct tr_err *err);

/* chunk.c */
enum tr_rc meta_chunk_sent(struct tr_meta *, const struct tr_run *, uint32_t, struct tr_err *);
enum tr_rc meta_chunk_done(struct tr_meta *, const struct tr_run *, uint64_t, uint32_t,
                           const struct tr_account *, bool, const struct tr_reject *, size_t,
                           struct tr_err *);
enum tr_rc meta_chunk_absent(struct tr_meta *, const struct tr_run *, uint32_t, struct tr_err *);
enum tr_rc meta_reject_list(struct tr_meta *, const struct tr_uuid *, int,
                            bool (*)(void *, const struct tr_reject *), void *, struct tr_err *);

/* orphan.c */
enum tr_rc meta_orphan_list(struct tr_meta *, const struct tr_run *, uint64_t, struct tr_orphan **,
                            size_t *, struct tr_err *);
enum tr_rc meta_orphan_settle(struct tr_meta *, const struct tr_run *, uint64_t,
                              const struct tr_orphan *, const struct tr_account *, int64_t,
                              struct tr_err *);

/* delivered.c */
enum tr_rc meta_sharer_list(struct tr_meta *, const struct tr_uuid *, uint64_t,
                            bool (*)(void *, const struct tr_uuid *, int32_t), void *,
                            struct tr_err *) TR_MUST_USE;
enum tr_rc meta_delivered_list(struct tr_meta *, const struct tr_uuid *, uint64_t, struct tr_range,
                               bool (*)(void *, const struct tr_delivered *), void *,
                               struct tr_err *);
/* Adds struct tr_delivered that meet range, by lo and generation. */
TR_MUST_USE enum tr_rc delivered_load(struct meta *m, const struct tr_uuid *export_id,
                                      uint64_t target, struct tr_range range, struct rows *to,
                                      struct tr_err *err);
/* A chunk's range is delivered from now on. */
TR_MUST_USE enum tr_rc delivered_add(struct meta *m, const struct tr_run *run, uint64_t target,
                                     struct tr_range chunk, bool is_empty, struct tr_err *err);

/* run.c: runs that end, and runs to look at */
#define RUN_COLUMNS                                                                                \
    "id, export_id, backfill_id, project, lo, hi, state, on_delivered, generation, attempts, "     \
    "fence, cancel_asked, is_live, created_at, started_at, finished_at, next_attempt_at, "         \
    "lease_until, "                                                                                \
    "not_before, error_rc, error_id, error, error_hint, stored, elsewhere, selected, excluded, "   \
    "delivered, already_there, rejected, repaired, bytes"
void run_read(struct sql *q, struct tr_run *ret);
TR_MUST_USE enum tr_rc run_find(struct meta *m, const struct tr_uuid *id, struct tr_run *ret,
                                struct tr_err *err);
enum tr_rc meta_run_finish(struct tr_meta *, const struct tr_run *, uint64_t, bool,
                           struct tr_err *);
enum tr_rc meta_run_retry(struct tr_meta *, const struct tr_uuid *, int64_t, struct tr_run *,
                          struct tr_err *);
enum tr_rc meta_run_cancel(struct tr_meta *, const struct tr_uuid *, int64_t, struct tr_run *,
                           struct tr_err *);
enum tr_rc meta_run_get(struct tr_meta *, const struct tr_uuid *, struct tr_run *, struct tr_err *);
enum tr_rc meta_run_list(struct tr_meta *, const struct tr_run_query *,
                         bool (*)(void *, const struct tr_run *), void *, struct tr_err *);

/* backlog.c, fold.c */
enum tr_rc meta_backlog(struct tr_meta *, const struct tr_uuid *, struct tr_backlog *,
                        struct tr_err *);
enum tr_rc meta_run_fold(struct tr_meta *, int64_t, int64_t, int, size_t *, struct tr_err *);
enum tr_rc meta_day_list(struct tr_meta *, const struct tr_uuid *, int,
                         bool (*)(void *, const struct tr_day *), void *, struct tr_err *);

/* backfill.c */
enum tr_rc meta_backfill_create(struct tr_meta *, struct tr_backfill *, uint64_t, struct tr_err *);
enum tr_rc meta_backfill_get(struct tr_meta *, const struct tr_uuid *, struct tr_backfill *,
                             struct tr_err *);
enum tr_rc meta_backfill_list(struct tr_meta *, const struct tr_uuid *,
                              bool (*)(void *, const struct tr_backfill *), void *,
                              struct tr_err *);
enum tr_rc meta_backfill_finish(struct tr_meta *, const struct tr_uuid *, enum tr_run_state,
                                int64_t, struct tr_err *);

/* log.c */
enum { LOG_LINES = 10000 }; /* kept of an export */
enum tr_rc meta_log_add(struct tr_meta *, const struct tr_log_line *, struct tr_err *);
enum tr_rc meta_log_list(struct tr_meta *, const struct tr_uuid *, const struct tr_uuid *, int,
                         bool (*)(void *, const struct tr_log_line *), void *, struct tr_err *);

static inline enum tr_rc meta_not_found(struct tr_err *err, const char *what)
{
    return tr_fail(err, TR_INVALID, "meta.not_found", NULL, "there is no such %s", what);
}

#endif
