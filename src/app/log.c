#include "app/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"
#include "os/clock.h"

static const char *const levels[] = { "debug", "info", "warn", "error" };
static int least = 1;

static int rank(const char *level)
{
    for (int i = 0; i < (int)(sizeof(levels) / sizeof(levels[0])); i++)
        if (strcmp(levels[i], level) == 0)
            return i;
    return -1;
}

bool app_log_level(const char *level)
{
    int r = rank(level);

    if (r >= 0)
        least = r;
    return r >= 0;
}

void app_log(const char *level, const char *fmt, ...)
{
    char line[1400];
    char now[TR_TIME_TEXT];
    va_list ap;

    if (rank(level) < least)
        return;
    (void)tr_time_format(tr_clock_wall_us(), now);
    int n = snprintf(line, sizeof(line), "%s %-5s ", now, level);
    va_start(ap, fmt);
    int more = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
    va_end(ap);
    size_t room = sizeof(line) - (size_t)n - 2;
    size_t len = (size_t)n + (more < 0 ? 0 : (size_t)more > room ? room : (size_t)more);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20)
            line[i] = ' ';
    line[len++] = '\n';
    /* There is nobody left to tell when stderr is closed. */
    if (write(STDERR_FILENO, line, len) < 0)
        return;
}

void app_log_err(const char *level, const char *what, const struct tr_err *err)
{
    char text[600];

    app_log(level, "%s: %s", what, tr_err_text(err, text, sizeof(text)));
    if (err->hint != NULL)
        app_log(level, "hint: %s", err->hint);
}
