#include "store/inclock.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/file.h"

static int64_t system_wall(void *ctx)
{
    (void)ctx;
    return tr_clock_wall_us();
}

static int64_t system_boot(void *ctx)
{
    (void)ctx;
    return tr_clock_boot_us();
}

static void system_boot_id(void *ctx, char out[INCLOCK_BOOT_ID])
{
    (void)ctx;
    TR_CLEANUP(tr_file_close)
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, out, INCLOCK_BOOT_ID - 1);

    out[n > 0 ? n : 0] = '\0';
}

const struct clock_source clock_source_system = { system_wall, system_boot, system_boot_id, NULL };

static int64_t magnitude(int64_t x)
{
    return x < 0 ? -x : x;
}

void inclock_init(struct inclock *c, const struct clock_source *source, int64_t max_jump_us,
                  int64_t last, const char *saved, bool accept)
{
    *c = (struct inclock){
        .source = *source, .max_jump_us = max_jump_us, .last = last, .accepted = accept
    };
    c->anchor = source->wall_us(source->ctx);
    c->anchor_boot = source->boot_us(source->ctx);
    source->boot_id(source->ctx, c->boot_id);

    char boot_id[INCLOCK_BOOT_ID];
    int64_t anchor;
    int64_t boot;
    bool same_boot = saved != NULL && c->boot_id[0] != '\0' &&
                     sscanf(saved, "%36s %" SCNd64 " %" SCNd64, boot_id, &anchor, &boot) == 3 &&
                     strcmp(boot_id, c->boot_id) == 0 && boot <= c->anchor_boot;
    if (same_boot && !accept) {
        int64_t expected = anchor + (c->anchor_boot - boot);
        /* A small difference is the other clock's own correction while nothing ran. */
        if (magnitude(c->anchor - expected) > max_jump_us)
            c->anchor = expected;
    }
    (void)inclock_now(c);
}

int64_t inclock_now(struct inclock *c)
{
    int64_t wall = c->source.wall_us(c->source.ctx);
    int64_t boot = c->source.boot_us(c->source.ctx);
    int64_t passed = boot - c->anchor_boot;
    int64_t now = c->anchor + passed;
    int64_t off = wall - now;

    if (magnitude(off) > c->max_jump_us)
        c->doubt = INCLOCK_JUMPED;
    else if (!c->accepted && c->last - wall > c->max_jump_us)
        c->doubt = INCLOCK_BEHIND;
    else
        c->doubt = INCLOCK_SURE;

    int64_t most = passed / (100 / INCLOCK_SLEW_PERCENT);
    if (c->doubt == INCLOCK_SURE && most > 0) {
        now += off > most ? most : off < -most ? -most : off;
        c->anchor = now;
        c->anchor_boot = boot;
    }
    return now > c->last ? now : c->last + 1;
}

void inclock_save(const struct inclock *c, struct tr_buf *out)
{
    tr_buf_printf(out, "%s %" PRId64 " %" PRId64 "\n", c->boot_id[0] == '\0' ? "-" : c->boot_id,
                  c->anchor, c->anchor_boot);
}
