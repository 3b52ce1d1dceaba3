/* TZif files, RFC 8536. Only offsets are kept: abbreviations and the DST flag are nobody's business
 * here. */
#include <stdlib.h>

#include "model/zone_priv.h"

enum { HEADER = 44, MOST_TYPES = 256 };

struct counts {
    uint32_t isut, isstd, leap, time, type, chars;
};

static uint32_t be32(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;

    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static int64_t be64(const char *p)
{
    return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

static enum tr_rc bad(struct tr_err *err, struct tr_str name, const char *what)
{
    return tr_fail(err, TR_INVALID, "schedule.bad_zone_file",
                   "reinstall the system's time-zone data (package tzdata)",
                   "the data of time zone %.*s is damaged: %s", TR_STR_ARGS(name), what);
}

/* A header at the front of *s: false when it is none or its counts contradict each other. */
static bool header(struct tr_str *s, struct counts *ret, char *ret_version)
{
    if (s->n < HEADER || memcmp(s->p, "TZif", 4) != 0)
        return false;
    *ret_version = s->p[4];
    *ret = (struct counts){ .isut = be32(s->p + 20),
                            .isstd = be32(s->p + 24),
                            .leap = be32(s->p + 28),
                            .time = be32(s->p + 32),
                            .type = be32(s->p + 36),
                            .chars = be32(s->p + 40) };
    s->p += HEADER;
    s->n -= HEADER;
    return ret->type >= 1 && ret->type <= MOST_TYPES && ret->time <= ZONE_TRANSITIONS &&
           ret->chars <= 4096 && ret->leap <= 4096 && ret->isut <= ret->type &&
           ret->isstd <= ret->type;
}

static size_t block_size(const struct counts *c, size_t time_size)
{
    return c->time * time_size + c->time + c->type * 6 + c->chars + c->leap * (time_size + 4) +
           c->isstd + c->isut;
}

static bool fill(struct tr_zone *z, const char *p, const struct counts *c, size_t time_size)
{
    const char *which = p + c->time * time_size;
    const char *types = which + c->time;

    for (uint32_t i = 0; i < c->time; i++) {
        unsigned char type = (unsigned char)which[i];

        z->at[i] = time_size == 8 ? be64(p + i * time_size) : (int32_t)be32(p + i * time_size);
        if (type >= c->type || (i > 0 && z->at[i] <= z->at[i - 1]))
            return false;
        z->offset[i] = (int32_t)be32(types + (size_t)type * 6);
        if (z->offset[i] < -93600 || z->offset[i] > 93600) /* 26 hours: the standard's own limit */
            return false;
    }
    z->first = (int32_t)be32(types);
    z->n = c->time;
    return z->first >= -93600 && z->first <= 93600;
}

/* The text between the two line feeds behind the second block; empty: nothing is known. */
static bool footer(struct tr_zone *z, struct tr_str s)
{
    const char *end = s.n < 2 ? NULL : memchr(s.p + 1, '\n', s.n - 1);

    if (end == NULL || s.p[0] != '\n')
        return false;
    struct tr_str text = { s.p + 1, (size_t)(end - s.p) - 1 };
    if (text.n == 0)
        return true;
    z->has_rule = true;
    return tr_zone_rule_parse(text, &z->rule);
}

void tr_zone_free(struct tr_zone *z)
{
    if (z == NULL)
        return;
    free(z->at);
    free(z->offset);
    free(z);
}

static void zone_cleanup(struct tr_zone **z)
{
    tr_zone_free(*z);
}

static struct tr_zone *zone_new(struct tr_str name, size_t n)
{
    TR_CLEANUP(zone_cleanup) struct tr_zone *z = calloc(1, sizeof(*z));

    if (z == NULL)
        return NULL;
    z->at = calloc(n + 1, sizeof(*z->at));
    z->offset = calloc(n + 1, sizeof(*z->offset));
    if (z->at == NULL || z->offset == NULL)
        return NULL;
    memcpy(z->name, name.p, name.n < ZONE_NAME ? name.n : ZONE_NAME - 1);

    struct tr_zone *ret = z;
    z = NULL;
    return ret;
}

enum tr_rc tr_zone_parse(struct tr_str name, struct tr_str bytes, struct tr_zone **ret,
                         struct tr_err *err)
{
    struct counts c;
    char version = 0;
    size_t time_size = 4;
    struct tr_str s = bytes;

    if (!header(&s, &c, &version) || s.n < block_size(&c, 4))
        return bad(err, name, "no TZif header");
    if (version >= '2') {
        s.p += block_size(&c, 4);
        s.n -= block_size(&c, 4);
        time_size = 8;
        if (!header(&s, &c, &version) || s.n < block_size(&c, 8))
            return bad(err, name, "no second TZif header");
    }
    if (c.leap > 0)
        return bad(err, name, "it counts leap seconds");

    TR_CLEANUP(zone_cleanup) struct tr_zone *z = zone_new(name, c.time);
    if (z == NULL)
        return tr_fail_oom(err);
    if (!fill(z, s.p, &c, time_size))
        return bad(err, name, "its transitions are out of order or out of range");
    size_t size = block_size(&c, time_size);
    if (time_size == 8 && !footer(z, (struct tr_str){ s.p + size, s.n - size }))
        return bad(err, name, "its rule for the future cannot be read");
    *ret = z;
    z = NULL;
    return TR_OK;
}
