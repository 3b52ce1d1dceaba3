/* The heart: leases are renewed while an attempt lasts, and its cancelling is heard of. */
#include <string.h>

#include "engine/local/local_priv.h"

static void stop_slot(struct engine *e, struct slot *s, const struct tr_uuid *run_id, int64_t fence,
                      enum engine_stop why)
{
    tr_monitor_enter(&e->monitor);
    if (s->is_busy && s->fence == fence && memcmp(&s->run_id, run_id, sizeof(*run_id)) == 0 &&
        s->stop == ENGINE_GO) {
        s->stop = why;
        atomic_store(&s->cancelled, true);
        tr_monitor_tell(&e->monitor);
    }
    tr_monitor_leave(&e->monitor);
}

static void beat_slot(struct engine *e, struct slot *s)
{
    struct tr_err err = { 0 };
    bool cancel = false;
    char text[512];

    tr_monitor_enter(&e->monitor);
    bool is_busy = s->is_busy;
    struct tr_uuid run_id = s->run_id;
    int64_t fence = s->fence;
    tr_monitor_leave(&e->monitor);
    if (!is_busy)
        return;

    enum tr_rc rc = e->meta->ops->run_renew(e->meta, &run_id, fence, engine_now(e) + e->lease_us,
                                            &cancel, &err);
    if (rc == TR_CANCELLED || rc == TR_INVALID)
        stop_slot(e, s, &run_id, fence, ENGINE_LOST);
    else if (rc != TR_OK)
        engine_say(e, "warn", NULL, &run_id, "cannot renew the lease: %s",
                   tr_err_text(&err, text, sizeof(text)));
    else if (cancel)
        stop_slot(e, s, &run_id, fence, ENGINE_CANCEL);
}

void engine_beat(struct engine *e)
{
    for (int i = 0; i < engine_slots(e); i++)
        beat_slot(e, &e->slots[i]);
}
