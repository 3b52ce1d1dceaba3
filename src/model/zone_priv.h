/* Private parts of time zones: what a TZif file (RFC 8536) says, as a table and a rule. Instants
 * here are in seconds UTC. */
#ifndef TR_MODEL_ZONE_PRIV_H
#define TR_MODEL_ZONE_PRIV_H

#include "base/err.h"
#include "base/str.h"

enum { ZONE_NAME = 64, ZONE_TRANSITIONS = 65536 };

/* A day of the year in a POSIX TZ string (IEEE 1003.1, section 8.3). */
struct rule_day {
    enum { RULE_MONTH_WEEK_DAY, RULE_JULIAN, RULE_DAY_OF_YEAR } form;
    int month, week, day; /* RULE_JULIAN: day 1..365, never 29 February; DAY_OF_YEAR: day 0..365 */
    int time_s;           /* local time of that day, -167 h .. 167 h */
};

/* "CET-1CEST,M3.5.0,M10.5.0/3": what holds after the last transition of the table. */
struct zone_rule {
    bool has_dst;
    int std_s, dst_s; /* seconds east of UTC */
    struct rule_day start, end;
};

struct tr_zone {
    struct tr_zone *next; /* in the cache */
    char name[ZONE_NAME];
    size_t n;
    int64_t *at;     /* n instants, ascending */
    int32_t *offset; /* n offsets, in force from at[i] on */
    int32_t first;   /* in force before at[0] */
    bool has_rule;   /* in force from at[n - 1] on */
    struct zone_rule rule;
};

/* bytes: a TZif file, versions 1 to 4. TR_INVALID "schedule.bad_zone_file". */
TR_MUST_USE enum tr_rc tr_zone_parse(struct tr_str name, struct tr_str bytes, struct tr_zone **ret,
                                     struct tr_err *err);
void tr_zone_free(struct tr_zone *z);

TR_MUST_USE bool tr_zone_rule_parse(struct tr_str text, struct zone_rule *ret);
int tr_zone_rule_offset(const struct zone_rule *r, int64_t s);
/* The first change of the rule behind s; INT64_MAX when it never changes. */
int64_t tr_zone_rule_next(const struct zone_rule *r, int64_t s);

int tr_zone_offset_at(const struct tr_zone *z, int64_t s);
/* The first change of offset behind s; INT64_MAX: none. */
int64_t tr_zone_next_change(const struct tr_zone *z, int64_t s);

#endif
