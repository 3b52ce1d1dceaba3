/* Instants as clients write them.
 *
 * Read, in this order: RFC 3339 and its relatives (date alone, blank for T, no seconds, a fraction
 * of any length, "+03", "+0300", "+03:00", "Z", "UTC", "GMT"; no zone means UTC), dates with
 * slashes (2024/02/29 and 02/29/2024, with or without a time), RFC 2822 (weekday and seconds
 * optional, zone names of the RFC), and numbers: seconds, or milliseconds from 100000000000 up,
 * with a fraction. Fractions are cut at microseconds. The full table is in docs/capture.md.
 */
#ifndef TR_CAPTURE_WHEN_H
#define TR_CAPTURE_WHEN_H

#include "base/time.h"

/* Years 0000 to 9999; the result of year 0, or of a zone at the edges, may lie outside
 * TR_TIME_MIN..TR_TIME_MAX: the caller's rule decides. Numbers beyond that range fail. */
TR_MUST_USE bool tr_when_parse(struct tr_str s, int64_t *ret);

/* The number forms alone. */
TR_MUST_USE bool tr_when_number(struct tr_str s, int64_t *ret);

#endif
