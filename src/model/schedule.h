/* When intervals begin and end: frequencies, zones, offsets, jitter. Pure.
 *
 * Seconds, minutes and hours align to the Unix epoch in UTC. Days and weeks align to the local
 * clock of the zone, plus the offset: in a gap the first instant after it, in an overlap the first
 * of the two; a day of zero length is skipped. Intervals follow each other without gap or overlap.
 */
#ifndef TR_MODEL_SCHEDULE_H
#define TR_MODEL_SCHEDULE_H

#include "base/err.h"
#include "base/str.h"
#include "base/uuid.h"
#include "model/range.h"

enum tr_unit {
    TR_UNIT_REALTIME, /* some minutes at a time, delivered as they go on */
    TR_UNIT_SECOND,
    TR_UNIT_MINUTE,
    TR_UNIT_HOUR,
    TR_UNIT_DAY,
    TR_UNIT_WEEK
};

struct tr_zone; /* immutable, from the system's tzdata */

struct tr_schedule {
    enum tr_unit unit;
    int every;                  /* SECOND: 5..30, MINUTE: 1..59, REALTIME: minutes; 1 otherwise */
    int offset_day;             /* WEEK: 0 = Sunday .. 6 */
    int offset_hour;            /* DAY, WEEK: 0..23 */
    const struct tr_zone *zone; /* never NULL */
};

/* The API's words: "hour", "day", "week", "every 5 minutes", "every 10 seconds", "realtime". Sets
 * unit and every. TR_INVALID says what is allowed. */
TR_MUST_USE enum tr_rc tr_schedule_parse(struct tr_str text, struct tr_schedule *ret,
                                         struct tr_err *err);
/* The same words back; out of 32 bytes. */
const char *tr_schedule_format(const struct tr_schedule *s, char out[32]);

/* The interval that holds t: lo <= t < hi. */
struct tr_range tr_schedule_at(const struct tr_schedule *s, int64_t t);

/* How long after the interval's end this export's run starts, from its id: 0 below 5 minutes, then
 * a share of the interval (hour up to 15 min, day 20 min, week 30 min, N minutes up to N/5). */
int64_t tr_schedule_jitter(const struct tr_schedule *s, const struct tr_uuid *export_id);

/* A zone by its IANA name ("Europe/Berlin", "UTC"); zones are cached for the life of the process.
 * TR_INVALID "schedule.unknown_zone". Thread-safe. */
TR_MUST_USE enum tr_rc tr_zone_get(struct tr_str name, const struct tr_zone **ret,
                                   struct tr_err *err);
const char *tr_zone_name(const struct tr_zone *z);

/* Seconds east of UTC at an instant. */
int tr_zone_offset_s(const struct tr_zone *z, int64_t t);

/* The instant at which the zone's clock shows this civil time (second precision; gap and overlap as
 * above). */
int64_t tr_zone_local(const struct tr_zone *z, int year, int month, int day, int hour, int minute,
                      int second);

#endif
