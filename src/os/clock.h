/* The only place that reads a clock. */
#ifndef TR_OS_CLOCK_H
#define TR_OS_CLOCK_H

#include <stdint.h>

/* Wall clock, microseconds UTC. */
int64_t tr_clock_wall_us(void);

/* Time since boot including sleep (CLOCK_BOOTTIME), microseconds: for deadlines and elapsed time.
 */
int64_t tr_clock_boot_us(void);

/* CPU time of this process, microseconds. */
int64_t tr_clock_cpu_us(void);

/* Sleeps; returns early when a signal arrives. */
void tr_clock_sleep_us(int64_t us);

#endif
