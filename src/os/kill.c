#include "os/kill.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Made by the linker: the start and end of the section that holds the names. */
extern const char __start_tr_kill_points[] __attribute__((weak));
extern const char __stop_tr_kill_points[] __attribute__((weak));

bool tr_kill_armed;
static char armed_name[128];
static atomic_long passes_left;

void tr_kill_arm(void)
{
    const char *spec = getenv("TAILRACE_KILL_AT");

    if (spec == NULL || spec[0] == '\0')
        return;
    size_t n = strcspn(spec, ":");
    if (n >= sizeof(armed_name))
        return;
    memcpy(armed_name, spec, n);
    atomic_store(&passes_left, spec[n] == ':' ? strtol(spec + n + 1, NULL, 10) : 1);
    tr_kill_armed = true;
}

void tr_kill_pass(const char *name)
{
    if (strcmp(name, armed_name) == 0 && atomic_fetch_sub(&passes_left, 1) == 1)
        (void)kill(getpid(), SIGKILL);
}

void tr_kill_list(FILE *out)
{
    const char *p = __start_tr_kill_points;

    while (p < __stop_tr_kill_points) {
        size_t n = strlen(p);
        if (n > 0)
            (void)fprintf(out, "%s\n", p);
        p += n + 1;
    }
}
