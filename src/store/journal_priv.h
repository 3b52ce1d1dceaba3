/* What the journal's own files share. */
#ifndef TR_STORE_JOURNAL_PRIV_H
#define TR_STORE_JOURNAL_PRIV_H

#include "store/journal.h"

/* The path of a segment, for opening and for messages. */
enum { JOURNAL_PATH = 4096 };
void journal_path(const struct journal *j, const char *name, char out[JOURNAL_PATH]);

struct segment *segment_new(uint64_t first_seq);
void segment_unref(struct segment *g);

/* Notes a durable record at `at` in the segment's marks and sums. Without memory for a further mark
 * there are fewer of them. */
void segment_note(struct segment *g, const struct record_head *h, uint64_t at);

/* Puts g at the end of the list (takes it over on success). Under the lock, or before threads. */
TR_MUST_USE enum tr_rc journal_add_segment(struct journal *j, struct segment *g,
                                           struct tr_err *err);

/* Makes the file of the next segment, its head synced; not in the list yet. */
TR_MUST_USE enum tr_rc journal_make_segment(struct journal *j, struct segment **ret,
                                            struct tr_err *err);

/* Reads head and counters at `at` into prefix; *ret_found is false when no record of ours is there.
 */
TR_MUST_USE enum tr_rc journal_look_at(const struct journal *j, int fd, uint64_t at, uint64_t end,
                                       struct tr_buf *prefix, bool *ret_found, struct tr_err *err);

/* First sequence numbers of the segments in a folder, sorted; free() them. */
TR_MUST_USE enum tr_rc journal_list(const char *dir, uint64_t **ret, size_t *ret_n,
                                    struct tr_err *err);

/* From `at` on, the first head of a record with a sequence number over after_seq. */
TR_MUST_USE enum tr_rc journal_find_later(const struct journal *j, int fd, uint64_t at,
                                          uint64_t end, uint64_t after_seq, bool *ret_found,
                                          uint64_t *ret_at, struct record_head *ret,
                                          struct tr_err *err);

/* Reads what the last process left into j->segments; see journal_open. */
TR_MUST_USE enum tr_rc journal_recover(struct journal *j, uint64_t needed_seq,
                                       const struct journal_visitor *visitor, struct tr_err *err);

#endif
