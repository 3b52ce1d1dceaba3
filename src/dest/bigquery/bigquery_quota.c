/* Loads, by table, over the last 24 hours: BigQuery takes 1,500 and counts failed ones too. Counted
 * by this process, for all its exports; a restart begins anew. */
#include <pthread.h>
#include <string.h>

#include "base/hash.h"
#include "base/metric.h"
#include "dest/bigquery/bigquery_priv.h"

TR_COUNTER(loads, "tailrace_bigquery_loads_total", "Load jobs made at BigQuery.");
TR_GAUGE(loads_most, "tailrace_bigquery_loads_day_most",
         "Load jobs within 24 hours into the table that had most of them; BigQuery takes 1,500.");

enum { TABLES = 1024, HOURS = 24 };

static struct {
    pthread_mutex_t lock;
    struct {
        uint64_t table; /* its hash; 0: free */
        int64_t hour;   /* the last one that was counted */
        uint32_t loads[HOURS];
    } tables[TABLES];
} quota = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- the pace ---- */

enum { TURNS = 1024 };
#define TURN_WINDOW_US (11 * TR_US_PER_S) /* ways are of different length */

/* When the last loads were made, of tables that had some within the window. */
static struct {
    pthread_mutex_t lock;
    struct turn {
        uint64_t table;
        int64_t boot_us;
    } last[TURNS]; /* a ring */
    size_t at;
} turns = { .lock = PTHREAD_MUTEX_INITIALIZER };

static uint64_t hash_place(const struct bq_place *p);

int64_t bq_quota_turn_us(const struct bq_place *p, int64_t most, int64_t boot_us)
{
    uint64_t table = hash_place(p);
    int64_t n = 0, oldest = boot_us;

    (void)pthread_mutex_lock(&turns.lock);
    for (size_t i = 0; i < TURNS; i++) {
        const struct turn *t = &turns.last[i];
        if (t->table != table || boot_us - t->boot_us >= TURN_WINDOW_US)
            continue;
        n++;
        oldest = t->boot_us < oldest ? t->boot_us : oldest;
    }
    if (n < most) {
        turns.last[turns.at] = (struct turn){ table, boot_us };
        turns.at = (turns.at + 1) % TURNS;
    }
    (void)pthread_mutex_unlock(&turns.lock);
    return n < most ? 0 : oldest + TURN_WINDOW_US - boot_us;
}

/* ---- the day ---- */

static uint64_t hash_place(const struct bq_place *p)
{
    uint64_t h = tr_hash64(p->project, strlen(p->project), 0);

    h = tr_hash64(p->dataset, strlen(p->dataset), h);
    h = tr_hash64(p->table, strlen(p->table), h);
    return h == 0 ? 1 : h;
}

/* The table's place, or that of the one that has been quiet for longest. */
static size_t place_of(uint64_t table)
{
    size_t at = 0;

    for (size_t i = 0; i < TABLES; i++) {
        if (quota.tables[i].table == table)
            return i;
        if (quota.tables[i].hour < quota.tables[at].hour)
            at = i;
    }
    memset(&quota.tables[at], 0, sizeof(quota.tables[at]));
    quota.tables[at].table = table;
    return at;
}

/* Hours that have gone by since the last count begin at nothing. */
static void move_to(size_t i, int64_t hour)
{
    int64_t gone = hour - quota.tables[i].hour;

    if (gone <= 0)
        return;
    if (gone >= HOURS)
        memset(quota.tables[i].loads, 0, sizeof(quota.tables[i].loads));
    for (int64_t h = hour; gone > 0 && gone < HOURS; h--, gone--)
        quota.tables[i].loads[h % HOURS] = 0;
    quota.tables[i].hour = hour;
}

static uint64_t sum(size_t i)
{
    uint64_t n = 0;

    for (size_t h = 0; h < HOURS; h++)
        n += quota.tables[i].loads[h];
    return n;
}

void bq_quota_count(const struct bq_place *p, int64_t now_us)
{
    int64_t hour = now_us / TR_US_PER_HOUR;
    uint64_t most = 0;

    (void)pthread_mutex_lock(&quota.lock);
    size_t i = place_of(hash_place(p));
    move_to(i, hour);
    quota.tables[i].loads[hour % HOURS]++;
    for (size_t t = 0; t < TABLES; t++)
        if (quota.tables[t].table != 0 && hour - quota.tables[t].hour < HOURS && sum(t) > most)
            most = sum(t);
    (void)pthread_mutex_unlock(&quota.lock);
    tr_count(&loads, 1);
    tr_gauge_set(&loads_most, (int64_t)most);
}

uint64_t bq_quota_today(const struct bq_place *p, int64_t now_us)
{
    (void)pthread_mutex_lock(&quota.lock);
    size_t i = place_of(hash_place(p));
    move_to(i, now_us / TR_US_PER_HOUR);
    uint64_t n = sum(i);
    (void)pthread_mutex_unlock(&quota.lock);
    return n;
}
