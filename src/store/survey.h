/* Looking at a store's files offline, without changing them: what stat and check are made of. */
#ifndef TR_STORE_SURVEY_H
#define TR_STORE_SURVEY_H

#include "store/store_priv.h"

/* Problems that were found, as members of a JSON array. */
struct survey_problems {
    struct tr_buf text;
    size_t n;
};
void survey_problem(struct survey_problems *p, const char *file, uint64_t at, const char *fmt, ...)
    TR_FORMAT(4, 5);

struct survey_journal {
    uint64_t segments, bytes, records, events;
    uint64_t first_seq, last_seq;
    int64_t closed_through;
    uint64_t torn_bytes; /* an end that the next start cuts off */
};

/* Reads all heads, and with a visitor all events; problems go to p. */
TR_MUST_USE enum tr_rc survey_journal(const char *dir, const struct store_identity *id,
                                      const struct journal_visitor *visitor,
                                      struct survey_problems *p, struct survey_journal *ret,
                                      struct tr_err *err);

struct survey_dedup {
    uint64_t runs, entries, bytes, through_seq;
};
/* deep: every block of every run is read. */
TR_MUST_USE enum tr_rc survey_dedup(const char *dir, const struct store_identity *id, bool deep,
                                    struct survey_problems *p, struct survey_dedup *ret,
                                    struct tr_err *err);

struct survey {
    const char *dir;
    struct store_identity id;
    struct survey_journal journal;
    struct survey_dedup dedup;
    struct blocks_totals blocks;
    struct asof asof; /* survey_check.c's */
    uint64_t applied_seq;
    int64_t applied_through;
    struct survey_problems problems;
};

/* survey_check.c: blocks, and counts against blocks and journal. */
TR_MUST_USE enum tr_rc survey_check(struct survey *v, struct tr_err *err);

#endif
