/* The keeper: deduplication runs, state.db's log, and dropping what nobody needs of the journal. */
#include "base/metric.h"
#include "os/clock.h"
#include "store/store_priv.h"

TR_GAUGE(journal_now, "tailrace_store_journal_bytes", "Bytes of journal segments.");

enum { CLOCK_SAVE_US = 60 * 1000 * 1000 };

static enum tr_rc keep_dedup(struct tr_store *s, struct tr_err *err)
{
    bool merged;

    if (dedup_flush(&s->dedup, err) != TR_OK)
        return err->rc;
    if (dedup_expire(&s->dedup, store_clock(s), err) != TR_OK)
        return err->rc;
    if (dedup_merge(&s->dedup, &merged, err) != TR_OK)
        return err->rc;
    if (merged)
        worker_tell(&s->keeper); /* there may be more to merge: soon, but not before the rest */
    return TR_OK;
}

static enum tr_rc drop_journal(struct tr_store *s, struct tr_err *err)
{
    struct derived_position derived;
    struct dedup_status dedup;
    struct journal_position journal;
    uint64_t seq = atomic_load(&s->sealed_seq);

    derived_position(&s->derived, &derived);
    dedup_status(&s->dedup, &dedup);
    seq = derived.durable_seq < seq ? derived.durable_seq : seq;
    seq = dedup.through_seq < seq ? dedup.through_seq : seq;
    enum tr_rc rc = journal_drop(&s->journal, seq, err);
    if (rc == TR_OK)
        rc = asof_drop(&s->asof, atomic_load(&s->sealed_seq), err);
    journal_position(&s->journal, &journal);
    tr_gauge_set(&journal_now, (int64_t)journal.bytes);
    return rc;
}

static enum tr_rc checkpoint_state(struct tr_store *s, struct tr_err *err)
{
    return derived_checkpoint(&s->derived, err);
}

static enum tr_rc save_clock(struct tr_store *s, struct tr_err *err)
{
    int64_t now = tr_clock_boot_us();

    if (now - s->clock_saved_at < CLOCK_SAVE_US)
        return TR_OK;
    s->clock_saved_at = now;
    return store_clock_save(s, err);
}

/* Each part is tried although another failed: what one of them frees may be what another needs. */
enum tr_rc store_keep(struct tr_store *s, struct tr_err *err)
{
    static enum tr_rc (*const parts[])(struct tr_store *, struct tr_err *) = {
        keep_dedup,
        checkpoint_state,
        drop_journal,
        save_clock,
    };
    enum tr_rc rc = TR_OK;

    (void)store_clock(s);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        struct tr_err other;
        enum tr_rc part = parts[i](s, rc == TR_OK ? err : &other);
        rc = rc == TR_OK ? part : rc;
    }
    return rc;
}
