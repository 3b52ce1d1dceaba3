#include <stdarg.h>
#include <stdio.h>

#include "delivery/delivery_priv.h"

void job_say(const struct job *j, const char *level, const char *fmt, ...)
{
    char text[1024];
    va_list args;

    if (j->d->log == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    j->d->log(j->d->log_arg, level, &j->run->export_id, &j->run->id, text);
}

static void notice(struct tr_notice_sink *sink, const char *text)
{
    const struct job_notices *n = (const struct job_notices *)(const void *)sink;

    if (n->job != NULL)
        job_say(n->job, "info", "%s", text);
}

void job_notices_init(struct job_notices *n, const struct job *j)
{
    *n = (struct job_notices){ .sink = { notice }, .job = j };
}
