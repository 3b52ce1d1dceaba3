#include <stdarg.h>
#include <stdio.h>

#include "engine/local/local_priv.h"

void engine_say(struct engine *e, const char *level, const struct tr_uuid *export_id,
                const struct tr_uuid *run_id, const char *fmt, ...)
{
    static const struct tr_uuid nil;
    char text[1024];
    va_list args;

    if (e->d->log == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    e->d->log(e->d->log_arg, level, export_id == NULL ? &nil : export_id,
              run_id == NULL ? &nil : run_id, text);
}

/* Whole seconds without a fraction: intervals mostly have none. */
static void time_text(int64_t t, char out[TR_TIME_TEXT])
{
    t = t < TR_TIME_MIN ? TR_TIME_MIN : t > TR_TIME_MAX ? TR_TIME_MAX : t;
    (void)tr_time_format(t, out);
    if (t % TR_US_PER_S == 0)
        (void)snprintf(out + 19, TR_TIME_TEXT - 19, "Z");
}

const char *engine_range_text(struct tr_range r, char out[ENGINE_RANGE_TEXT])
{
    char lo[TR_TIME_TEXT];
    char hi[TR_TIME_TEXT];

    time_text(r.lo, lo);
    time_text(r.hi, hi);
    (void)snprintf(out, ENGINE_RANGE_TEXT, "%s to %s", lo, hi);
    return out;
}
