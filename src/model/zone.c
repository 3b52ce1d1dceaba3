/* Zones by name, and the arithmetic on them. */
#include <pthread.h>
#include <stdlib.h>

#include "base/time.h"
#include "model/schedule.h"
#include "model/zone_priv.h"
#include "os/file.h"

#define ZONE_DIR "/usr/share/zoneinfo/"

enum { ZONE_FILE_BYTES = 1 << 20, DAY_S = 86400, HOUR_S = 3600 };

static struct tr_zone utc = { .name = "UTC" };

static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tr_zone *cache; /* zones are never taken out: the system has some 600 of them */

/* ---- instants and civil times ---- */

int tr_zone_offset_at(const struct tr_zone *z, int64_t s)
{
    if (z->n == 0 || s < z->at[0])
        return z->n == 0 && z->has_rule ? tr_zone_rule_offset(&z->rule, s) : z->first;
    if (s >= z->at[z->n - 1])
        return z->has_rule ? tr_zone_rule_offset(&z->rule, s) : z->offset[z->n - 1];

    size_t lo = 0; /* at[lo] <= s < at[hi] */
    size_t hi = z->n - 1;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (z->at[mid] <= s)
            lo = mid;
        else
            hi = mid;
    }
    return z->offset[lo];
}

int64_t tr_zone_next_change(const struct tr_zone *z, int64_t s)
{
    if (z->n == 0 || s >= z->at[z->n - 1])
        return z->has_rule ? tr_zone_rule_next(&z->rule, s) : INT64_MAX;

    size_t lo = 0; /* the first at[i] > s is in [lo, hi] */
    size_t hi = z->n - 1;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (z->at[mid] > s)
            hi = mid;
        else
            lo = mid + 1;
    }
    return z->at[lo];
}

static int64_t floor_seconds(int64_t t)
{
    int64_t s = t / TR_US_PER_S;

    return t % TR_US_PER_S < 0 ? s - 1 : s;
}

int tr_zone_offset_s(const struct tr_zone *z, int64_t t)
{
    return tr_zone_offset_at(z, floor_seconds(t));
}

int64_t tr_zone_local(const struct tr_zone *z, int year, int month, int day, int hour, int minute,
                      int second)
{
    int64_t civil = tr_days_from_civil(year, month, day) * DAY_S + (int64_t)hour * HOUR_S +
                    (int64_t)minute * 60 + second;

    /* Offsets stay below 26 hours. From there walk the stretches of one offset; the first one that
     * the civil time does not lie behind holds it (in an overlap: the first of the two) or begins
     * after it (a gap: its first instant). */
    int64_t from = civil - (int64_t)27 * HOUR_S;
    for (;;) {
        int64_t at = civil - tr_zone_offset_at(z, from);
        int64_t to = tr_zone_next_change(z, from);
        if (at < to)
            return (at > from ? at : from) * TR_US_PER_S;
        from = to;
    }
}

/* ---- by name ---- */

const char *tr_zone_name(const struct tr_zone *z)
{
    return z->name;
}

/* Names lead to files, so only what IANA's names are made of is let through; theirs begin with a
 * capital, which keeps "posix/", "right/" and "localtime" out. */
static bool name_is_sane(struct tr_str name)
{
    if (name.n == 0 || name.n >= ZONE_NAME || name.p[0] < 'A' || name.p[0] > 'Z')
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool ok = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-' || c == '+' || c == '/';
        if (!ok)
            return false;
    }
    return true;
}

static enum tr_rc load(struct tr_str name, struct tr_zone **ret, struct tr_err *err)
{
    static const char unknown[] = "schedule.unknown_zone";
    static const char hint[] =
        "use a name of the IANA time-zone database, such as Europe/Berlin or "
        "UTC; the system needs the package tzdata";
    char path[sizeof(ZONE_DIR) + ZONE_NAME];
    TR_CLEANUP(tr_buf_fini) struct tr_buf file;
    struct tr_err why = { 0 };

    tr_buf_init(&file, ZONE_FILE_BYTES);
    if (!name_is_sane(name))
        return tr_fail(err, TR_INVALID, unknown, hint, "there is no time zone '%.*s'",
                       name.n < ZONE_NAME ? (int)name.n : ZONE_NAME, name.p);
    memcpy(path, ZONE_DIR, sizeof(ZONE_DIR));
    memcpy(path + sizeof(ZONE_DIR) - 1, name.p, name.n);
    path[sizeof(ZONE_DIR) - 1 + name.n] = '\0';
    if (tr_file_read(path, &file, &why) != TR_OK)
        return tr_fail(err, TR_INVALID, unknown, hint, "there is no time zone '%.*s'",
                       TR_STR_ARGS(name));
    return tr_zone_parse(name, tr_buf_view(&file), ret, err);
}

enum tr_rc tr_zone_get(struct tr_str name, const struct tr_zone **ret, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;
    struct tr_zone *z;

    if (tr_str_is(name, utc.name)) {
        *ret = &utc;
        return TR_OK;
    }
    (void)pthread_mutex_lock(&cache_lock);
    for (z = cache; z != NULL; z = z->next)
        if (tr_str_is(name, z->name))
            break;
    if (z == NULL && (rc = load(name, &z, err)) == TR_OK) {
        z->next = cache;
        cache = z;
    }
    if (rc == TR_OK)
        *ret = z;
    (void)pthread_mutex_unlock(&cache_lock);
    return rc;
}
