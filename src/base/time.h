/* Instants are int64_t microseconds since 1970-01-01T00:00:00Z, without leap seconds.
 * Nothing here reads a clock: see os/clock.h.
 */
#ifndef TR_BASE_TIME_H
#define TR_BASE_TIME_H

#include "base/err.h"
#include "base/str.h"

#define TR_US_PER_S    INT64_C(1000000)
#define TR_US_PER_MS   INT64_C(1000)
#define TR_US_PER_MIN  (60 * TR_US_PER_S)
#define TR_US_PER_HOUR (60 * TR_US_PER_MIN)
#define TR_US_PER_DAY  (24 * TR_US_PER_HOUR)

/* 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z: what every destination can hold. */
#define TR_TIME_MIN INT64_C(-62135596800000000)
#define TR_TIME_MAX INT64_C(253402300799999999)

struct tr_civil {
    int year, month, day;     /* month 1..12 */
    int hour, minute, second; /* second 0..59 */
    int us;                   /* 0..999999 */
};

/* Proleptic Gregorian calendar. */
int64_t tr_days_from_civil(int year, int month, int day);
bool tr_civil_valid(int year, int month, int day);
int64_t tr_time_from_civil(const struct tr_civil *c);
void tr_civil_from_time(int64_t t, struct tr_civil *ret);

/* 0 = Sunday .. 6 = Saturday */
int tr_weekday(int64_t days);

enum { TR_TIME_TEXT = 28 };
/* "2026-11-21T09:30:00.123456Z", NUL-terminated; returns the length, 27. t within MIN..MAX. */
size_t tr_time_format(int64_t t, char out[TR_TIME_TEXT]);

/* RFC 3339 with a zone ("Z", "+02:00"), fraction of any length (cut at microseconds), 'T' or blank.
 * False when it is anything else. For the lenient forms of clients see capture/when.h. */
TR_MUST_USE bool tr_time_parse(struct tr_str s, int64_t *ret);

#endif
