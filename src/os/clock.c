#include "os/clock.h"

#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;

    (void)clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t tr_clock_wall_us(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t tr_clock_boot_us(void)
{
    return read_clock(CLOCK_BOOTTIME);
}

int64_t tr_clock_cpu_us(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

void tr_clock_sleep_us(int64_t us)
{
    struct timespec ts = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

    (void)nanosleep(&ts, NULL);
}
