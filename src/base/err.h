/* Outcomes and errors.
 *
 * Every fallible function returns enum tr_rc and fills struct tr_err on failure only. The struct
 * lives on the caller's stack and never allocates. The innermost cause and the growing context are
 * kept apart, so that a prefix never cuts the cause.
 */
#ifndef TR_BASE_ERR_H
#define TR_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TR_MUST_USE        __attribute__((warn_unused_result))
#define TR_CLEANUP(fn)     __attribute__((cleanup(fn)))
#define TR_FORMAT(fmt, va) __attribute__((format(printf, fmt, va)))

/* The code answers one question: what should the scheduler do next? */
enum tr_rc {
    TR_OK = 0,
    TR_TRANSIENT, /* try again with backoff */
    TR_THROTTLED, /* try again, not before err->not_before_us */
    TR_AMBIGUOUS, /* outcome unknown: look up the key before trying again */
    TR_REFUSED,   /* the other side refused; a person must act */
    TR_INVALID,   /* the input is wrong: a request, a file, an option */
    TR_CANCELLED,
    TR_INTERNAL, /* our bug, our memory, our disk */
};

struct tr_err {
    enum tr_rc rc;
    const char *id;        /* stable, static: "postgres.permission_denied" */
    const char *hint;      /* the way out, for a person; static text or NULL */
    int64_t not_before_us; /* TR_THROTTLED, TR_AMBIGUOUS: wall clock, microseconds UTC; or 0 */
    char cause[256];       /* the innermost message: one line, no secrets, no trailing dot */
    char where[256];       /* "commit chunk 3 of run ..: ", grown by each layer */
};

/* Starts an error: clears err, sets its parts, returns rc. err may be NULL. */
enum tr_rc tr_fail(struct tr_err *err, enum tr_rc rc, const char *id, const char *hint,
                   const char *fmt, ...) TR_FORMAT(5, 6);

/* Puts "<text>: " in front of what is known and returns err->rc (TR_INTERNAL when err is NULL). */
enum tr_rc tr_wrap(struct tr_err *err, const char *fmt, ...) TR_FORMAT(2, 3);

/* "out of memory" as TR_INTERNAL. */
enum tr_rc tr_fail_oom(struct tr_err *err);

/* TR_INTERNAL from errno: "<what>: <strerror>". ENOSPC/EDQUOT get the id "os.no_space". */
enum tr_rc tr_fail_errno(struct tr_err *err, int error, const char *fmt, ...) TR_FORMAT(3, 4);

/* "where" and "cause" joined into out (always NUL-terminated); returns out. */
const char *tr_err_text(const struct tr_err *err, char *out, size_t cap);

/* "transient", "refused", ...: the stable lower-case name of a class. */
const char *tr_rc_name(enum tr_rc rc);

#endif
