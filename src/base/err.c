#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One line whatever the source said: control characters become blanks, trailing dots go. */
static void make_one_line(char *text)
{
    size_t n = strlen(text);

    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = ' ';
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '.'))
        text[--n] = '\0';
}

static void start(struct tr_err *err, enum tr_rc rc, const char *id, const char *hint)
{
    memset(err, 0, sizeof(*err));
    err->rc = rc;
    err->id = id;
    err->hint = hint;
}

enum tr_rc tr_fail(struct tr_err *err, enum tr_rc rc, const char *id, const char *hint,
                   const char *fmt, ...)
{
    if (err == NULL)
        return rc;

    /* The arguments may point into err itself: format first, then start over. */
    char cause[sizeof(err->cause)];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(cause, sizeof(cause), fmt, ap);
    va_end(ap);

    start(err, rc, id, hint);
    memcpy(err->cause, cause, sizeof(cause));
    make_one_line(err->cause);
    return rc;
}

enum tr_rc tr_wrap(struct tr_err *err, const char *fmt, ...)
{
    if (err == NULL)
        return TR_INTERNAL;

    char where[sizeof(err->where)];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(where, sizeof(where), fmt, ap);
    va_end(ap);

    size_t used = n < 0 ? 0 : (size_t)n < sizeof(where) ? (size_t)n : sizeof(where) - 1;
    (void)snprintf(where + used, sizeof(where) - used, ": %.*s", (int)(sizeof(where) - used),
                   err->where);
    memcpy(err->where, where, sizeof(where));
    return err->rc;
}

enum tr_rc tr_fail_oom(struct tr_err *err)
{
    return tr_fail(err, TR_INTERNAL, "os.no_memory", NULL, "out of memory");
}

enum tr_rc tr_fail_errno(struct tr_err *err, int error, const char *fmt, ...)
{
    char what[160];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);

    bool no_space = error == ENOSPC || error == EDQUOT;
    return tr_fail(err, TR_INTERNAL, no_space ? "os.no_space" : "os.errno",
                   no_space ? "free space on the disk that holds the data folder" : NULL, "%s: %s",
                   what, strerrordesc_np(error) != NULL ? strerrordesc_np(error) : "unknown error");
}

const char *tr_err_text(const struct tr_err *err, char *out, size_t cap)
{
    (void)snprintf(out, cap, "%s%s", err->where, err->cause);
    return out;
}

const char *tr_rc_name(enum tr_rc rc)
{
    switch (rc) {
    case TR_OK:
        return "ok";
    case TR_TRANSIENT:
        return "transient";
    case TR_THROTTLED:
        return "throttled";
    case TR_AMBIGUOUS:
        return "ambiguous";
    case TR_REFUSED:
        return "refused";
    case TR_INVALID:
        return "invalid";
    case TR_CANCELLED:
        return "cancelled";
    case TR_INTERNAL:
        return "internal";
    }
    return "internal";
}
