/* What a request says: query values, instants, members of the body. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api_priv.h"
#include "base/time.h"

struct tr_str api_query(const struct api_call *c, const char *key, struct tr_buf *tmp)
{
    tr_buf_clear(tmp);
    return tr_query_get(c->req->query, key, tmp);
}

static bool parse_int(struct tr_str text, int64_t *ret)
{
    char z[24];
    char *end = NULL;

    if (text.n == 0 || text.n >= sizeof(z))
        return false;
    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    *ret = strtoll(z, &end, 10);
    return *end == '\0' && z[0] != ' ' && z[0] != '+';
}

enum tr_rc api_query_int(struct api_call *c, const char *key, int64_t fallback, int64_t min,
                         int64_t max, int64_t *ret, struct tr_err *err)
{
    struct tr_buf tmp;
    tr_buf_init(&tmp, 256);
    struct tr_str text = api_query(c, key, &tmp);
    bool ok = true;

    *ret = fallback;
    if (text.n > 0)
        ok = parse_int(text, ret) && *ret >= min && *ret <= max;
    tr_buf_fini(&tmp);
    if (!ok)
        return api_bad(c, err, key, "invalid_input", NULL,
                       "must be a whole number from %" PRId64 " to %" PRId64, min, max);
    return TR_OK;
}

enum tr_rc api_query_bool(struct api_call *c, const char *key, bool *ret, struct tr_err *err)
{
    struct tr_buf tmp;
    tr_buf_init(&tmp, 64);
    struct tr_str text = api_query(c, key, &tmp);
    bool yes = tr_str_eq_nocase(text, TR_STR("true")) || tr_str_is(text, "1") ||
               (text.p != NULL && text.n == 0);
    bool no = text.p == NULL || tr_str_eq_nocase(text, TR_STR("false")) || tr_str_is(text, "0");

    tr_buf_fini(&tmp);
    if (!yes && !no)
        return api_bad(c, err, key, "invalid_input", NULL, "must be true or false");
    *ret = yes;
    return TR_OK;
}

/* "now", "-7d", "-36h", "-5m", "-30s", "-2w" */
static bool parse_relative(struct tr_str text, int64_t now, int64_t *ret)
{
    static const struct {
        char unit;
        int64_t us;
    } units[] = { { 's', TR_US_PER_S },
                  { 'm', TR_US_PER_MIN },
                  { 'h', TR_US_PER_HOUR },
                  { 'd', TR_US_PER_DAY },
                  { 'w', 7 * TR_US_PER_DAY } };
    int64_t n = 0;

    if (tr_str_is(text, "now")) {
        *ret = now;
        return true;
    }
    if (text.n < 3 || text.n > 8 || text.p[0] != '-')
        return false;
    if (!parse_int((struct tr_str){ text.p + 1, text.n - 2 }, &n) || n < 0)
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (units[i].unit == text.p[text.n - 1]) {
            *ret = now - n * units[i].us;
            return true;
        }
    return false;
}

/* "2026-11-21" */
static bool parse_date(struct tr_str text, int *year, int *month, int *day)
{
    char z[11];

    if (text.n != 10 || text.p[4] != '-' || text.p[7] != '-')
        return false;
    for (size_t i = 0; i < 10; i++)
        if (i != 4 && i != 7 && (text.p[i] < '0' || text.p[i] > '9'))
            return false;
    memcpy(z, text.p, 10);
    z[10] = '\0';
    *year = atoi(z);
    *month = atoi(z + 5);
    *day = atoi(z + 8);
    return *year > 0 && tr_civil_valid(*year, *month, *day);
}

enum tr_rc api_when(struct api_call *c, const char *attr, struct tr_str text,
                    const struct tr_schedule *schedule, bool relative, int64_t *ret,
                    struct tr_err *err)
{
    int year = 0;
    int month = 0;
    int day = 0;

    if (tr_time_parse(text, ret))
        return TR_OK;
    if (relative && parse_relative(text, api_now(c), ret))
        return TR_OK;
    bool is_date = parse_date(text, &year, &month, &day);
    if (is_date && schedule != NULL &&
        (schedule->unit == TR_UNIT_DAY || schedule->unit == TR_UNIT_WEEK)) {
        *ret = tr_zone_local(schedule->zone, year, month, day, schedule->offset_hour, 0, 0);
        return TR_OK;
    }
    if (is_date)
        return api_bad(c, err, attr, "invalid_input",
                       "write it as 2026-11-21T09:00:00Z or with an offset such as +02:00",
                       "a bare date is for daily and weekly exports only; this needs a time with "
                       "its zone");
    return api_bad(c, err, attr, "invalid_input",
                   "write it as 2026-11-21T09:00:00Z or with an offset such as +02:00",
                   "'%.*s' is not an instant with its zone (ISO 8601)",
                   (int)(text.n < 60 ? text.n : 60), text.n == 0 ? "" : text.p);
}

enum tr_rc api_query_when(struct api_call *c, const char *key, const struct tr_schedule *schedule,
                          int64_t *ret, struct tr_err *err)
{
    struct tr_buf tmp;
    tr_buf_init(&tmp, 256);
    struct tr_str text = api_query(c, key, &tmp);
    char fixed[64];
    enum tr_rc rc = TR_OK;

    /* "+02:00" that nobody encoded arrives as " 02:00". */
    if (text.n > 20 && text.n < sizeof(fixed)) {
        memcpy(fixed, text.p, text.n);
        if (fixed[text.n - 6] == ' ')
            fixed[text.n - 6] = '+';
        text.p = fixed;
    }
    if (text.n > 0)
        rc = api_when(c, key, text, schedule, true, ret, err);
    tr_buf_fini(&tmp);
    return rc;
}

enum tr_rc api_body_text(struct api_call *c, const char *key, const char **ret, struct tr_err *err)
{
    const json_t *v = json_object_get(c->body, key);

    if (v == NULL || json_is_null(v))
        return TR_OK;
    if (!json_is_string(v))
        return api_bad(c, err, key, "invalid_input", NULL, "must be a text");
    if (strlen(json_string_value(v)) != json_string_length(v))
        return api_bad(c, err, key, "invalid_input", NULL, "must not hold a NUL character");
    *ret = json_string_value(v);
    return TR_OK;
}

enum tr_rc api_body_int(struct api_call *c, const char *key, int64_t min, int64_t max, int64_t *ret,
                        struct tr_err *err)
{
    const json_t *v = json_object_get(c->body, key);

    if (v == NULL || json_is_null(v))
        return TR_OK;
    if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max)
        return api_bad(c, err, key, "invalid_input", NULL,
                       "must be a whole number from %" PRId64 " to %" PRId64, min, max);
    *ret = json_integer_value(v);
    return TR_OK;
}

enum tr_rc api_body_bool(struct api_call *c, const char *key, bool *ret, struct tr_err *err)
{
    const json_t *v = json_object_get(c->body, key);

    if (v == NULL || json_is_null(v))
        return TR_OK;
    if (!json_is_boolean(v))
        return api_bad(c, err, key, "invalid_input", NULL, "must be true or false");
    *ret = json_is_true(v);
    return TR_OK;
}

enum tr_rc api_arg_uuid(struct api_call *c, size_t i, const char *what, struct tr_uuid *ret,
                        struct tr_err *err)
{
    return tr_uuid_parse(c->arg[i], ret) ? TR_OK : api_not_found(err, what);
}
