/* Kill points: named places in the real binary where a test can make the process die.
 *
 * TAILRACE_KILL_AT=journal.written:3 kills the process (SIGKILL) the third time it passes
 * TR_KILL_POINT("journal.written"). Every name is kept in a section of the binary, so
 * `tailrace kill-points` lists them and the suite can insist that each has a test.
 * Costs one predictable branch when the variable is not set.
 */
#ifndef TR_OS_KILL_H
#define TR_OS_KILL_H

#include <stdbool.h>
#include <stdio.h>

extern bool tr_kill_armed;

void tr_kill_pass(const char *name);

/* Reads TAILRACE_KILL_AT; call once at start. */
void tr_kill_arm(void);

/* One name a line. */
void tr_kill_list(FILE *out);

#define TR_KILL_POINT(name)                                                                        \
    do {                                                                                           \
        static const char tr_kill_name_[] __attribute__((section("tr_kill_points"), used)) = name; \
        if (__builtin_expect(tr_kill_armed, 0))                                                    \
            tr_kill_pass(tr_kill_name_);                                                           \
    } while (0)

#endif
