/* The keeper's thread: everything that is derived from the journal, and dropping what nobody needs.
 */
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/metric.h"
#include "os/clock.h"
#include "store/store_priv.h"

TR_COUNTER(failures, "tailrace_store_keeper_failures_total",
           "Passes of the store's keeper that failed and are tried again.");
TR_GAUGE(journal_now, "tailrace_store_journal_bytes", "Bytes of journal segments.");

enum {
    PASS_US = 500 * 1000,
    CLOCK_SAVE_US = 60 * 1000 * 1000,
    RETRY_US = 1000 * 1000, /* after a failure, told or not */
    NICENESS = 5,           /* compression gives way to whoever waits for an answer */
};

void store_tell_keeper(struct tr_store *s)
{
    tr_monitor_enter(&s->keep);
    s->keep_told = true;
    tr_monitor_tell(&s->keep);
    tr_monitor_leave(&s->keep);
}

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
        store_tell_keeper(s); /* there may be more to merge: soon, but not before the rest */
    return TR_OK;
}

static enum tr_rc keep_blocks(struct tr_store *s, bool all, struct tr_err *err)
{
    struct journal_position now;
    bool sealed = true;

    journal_position(&s->journal, &now);
    while (sealed && (store_seal_due(s) || (all && atomic_load(&s->sealed_seq) < now.last_seq)))
        if (store_seal(s, &sealed, err) != TR_OK)
            return err->rc;
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
    journal_position(&s->journal, &journal);
    tr_gauge_set(&journal_now, (int64_t)journal.bytes);
    return rc;
}

/* Each part is tried although another failed: what one of them frees may be what another needs. */
enum tr_rc store_keep(struct tr_store *s, bool seal_all, struct tr_err *err)
{
    struct tr_err other;
    enum tr_rc rc = keep_dedup(s, err);
    enum tr_rc rc2 = derived_catch_up(&s->derived, rc == TR_OK ? err : &other);

    rc = rc == TR_OK ? rc2 : rc;
    rc2 = keep_blocks(s, seal_all, rc == TR_OK ? err : &other);
    rc = rc == TR_OK ? rc2 : rc;
    rc2 = drop_journal(s, rc == TR_OK ? err : &other);
    return rc == TR_OK ? rc2 : rc;
}

static void tell_trouble(struct tr_store *s, const struct tr_err *err)
{
    tr_monitor_enter(&s->keep);
    s->trouble[0] = '\0';
    if (err != NULL)
        (void)tr_err_text(err, s->trouble, sizeof(s->trouble));
    tr_monitor_leave(&s->keep);
}

void *store_keeper(void *store)
{
    struct tr_store *s = store;
    int64_t clock_saved = tr_clock_boot_us();

    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICENESS); /* of this thread, on Linux */
    for (;;) {
        struct tr_err err = { 0 };
        (void)store_clock(s);
        tr_monitor_enter(&s->keep);
        bool seal_all = s->seal_all;
        s->seal_all = false;
        tr_monitor_leave(&s->keep);
        bool failed = store_keep(s, seal_all, &err) != TR_OK;
        if (tr_clock_boot_us() - clock_saved >= CLOCK_SAVE_US) {
            clock_saved = tr_clock_boot_us();
            failed = failed || store_clock_save(s, &err) != TR_OK;
        }
        tr_count(&failures, failed);
        tell_trouble(s, failed ? &err : NULL);

        tr_monitor_enter(&s->keep);
        if ((!s->keep_told || failed) && !s->keep_closing)
            (void)tr_monitor_wait(&s->keep, failed ? RETRY_US : PASS_US);
        s->keep_told = false;
        bool closing = s->keep_closing;
        tr_monitor_leave(&s->keep);
        if (closing)
            return NULL;
    }
}
