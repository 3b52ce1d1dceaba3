/* Counters and gauges that /metrics shows and tests assert on. Each is declared where it is
 * counted:
 *
 *     TR_COUNTER(events_stored, "tailrace_events_stored_total", "Events written to the journal.");
 *     tr_count(&events_stored, n);
 *
 * All of them stand in one section of the binary; nothing registers at run time. Thread-safe.
 */
#ifndef TR_BASE_METRIC_H
#define TR_BASE_METRIC_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"

struct tr_metric {
    const char *name; /* Prometheus name; may carry labels: x_total{reason="y"} */
    const char *help;
    const char *type; /* "counter" or "gauge" */
    atomic_int_fast64_t value;
};

#define TR_METRIC_(var, name_, help_, type_)                                                       \
    static struct tr_metric var                                                                    \
        __attribute__((section("tr_metrics"), used,                                                \
                       aligned(32))) = { .name = (name_), .help = (help_), .type = (type_) }
#define TR_COUNTER(var, name, help) TR_METRIC_(var, name, help, "counter")
#define TR_GAUGE(var, name, help)   TR_METRIC_(var, name, help, "gauge")

static inline void tr_count(struct tr_metric *m, int64_t n)
{
    atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}

static inline void tr_gauge_set(struct tr_metric *m, int64_t value)
{
    atomic_store_explicit(&m->value, value, memory_order_relaxed);
}

/* All metrics in Prometheus text format 0.0.4. */
void tr_metrics_write(struct tr_buf *out);

/* The value of the first metric of that name, 0 when there is none. For tests. */
int64_t tr_metric_value(const char *name);

#endif
