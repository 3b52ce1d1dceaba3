#include "base/metric.h"

#include <inttypes.h>
#include <string.h>

/* Made by the linker: the section that holds all metrics. */
extern struct tr_metric __start_tr_metrics[] __attribute__((weak));
extern struct tr_metric __stop_tr_metrics[] __attribute__((weak));

static struct tr_str family(const struct tr_metric *m)
{
    return (struct tr_str){ m->name, strcspn(m->name, "{") };
}

static void write_value(struct tr_buf *out, struct tr_metric *m)
{
    tr_buf_printf(out, "%s %" PRId64 "\n", m->name, (int64_t)atomic_load(&m->value));
}

/* The text format wants all lines of a family together, under one heading. */
static bool is_first_of_family(const struct tr_metric *m)
{
    for (const struct tr_metric *other = __start_tr_metrics; other < m; other++)
        if (tr_str_eq(family(other), family(m)))
            return false;
    return true;
}

void tr_metrics_write(struct tr_buf *out)
{
    for (struct tr_metric *m = __start_tr_metrics; m < __stop_tr_metrics; m++) {
        if (!is_first_of_family(m))
            continue;
        struct tr_str name = family(m);
        tr_buf_printf(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", TR_STR_ARGS(name), m->help,
                      TR_STR_ARGS(name), m->type);
        for (struct tr_metric *other = m; other < __stop_tr_metrics; other++)
            if (tr_str_eq(family(other), name))
                write_value(out, other);
    }
}

int64_t tr_metric_value(const char *name)
{
    for (struct tr_metric *m = __start_tr_metrics; m < __stop_tr_metrics; m++)
        if (strcmp(m->name, name) == 0)
            return atomic_load(&m->value);
    return 0;
}
