/* What went wrong, as PostHog says it: {"type", "code", "detail", "attr"}, and what to do: "hint".
 */
#include <stdarg.h>
#include <stdio.h>

#include "api/api_priv.h"

/* Errors that stand for a status of their own; all others go by their class. */
static const struct {
    const char *id;
    int status;
    const char *type, *code;
} by_id[] = {
    { "api.no_token", 401, "authentication_error", "not_authenticated" },
    { "api.bad_token", 401, "authentication_error", "authentication_failed" },
    { "api.route", 404, "invalid_request", "not_found" },
    { "api.not_found", 404, "invalid_request", "not_found" },
    { "api.method", 405, "invalid_request", "method_not_allowed" },
    { "meta.not_found", 404, "invalid_request", "not_found" },
    { "meta.token_in_use", 409, "validation_error", "unique" },
    { "meta.changed", 409, "validation_error", "conflict" },
    { "run.not_failed", 400, "validation_error", "invalid_input" },
    { "run.ended", 400, "validation_error", "invalid_input" },
};

static void by_class(enum tr_rc rc, int *ret_status, const char **ret_type, const char **ret_code)
{
    switch (rc) {
    case TR_INVALID:
    case TR_REFUSED:
        *ret_status = 400;
        *ret_type = "validation_error";
        *ret_code = "invalid_input";
        return;
    case TR_TRANSIENT:
    case TR_THROTTLED:
    case TR_AMBIGUOUS:
    case TR_CANCELLED:
        *ret_status = 503;
        *ret_type = "server_error";
        *ret_code = "unavailable";
        return;
    case TR_OK:
    case TR_INTERNAL:
        break;
    }
    *ret_status = 500;
    *ret_type = "server_error";
    *ret_code = "error";
}

json_t *api_problem(const struct tr_err *err, const char *attr, const char *code, int *ret_status)
{
    const char *type = NULL;
    const char *class_code = NULL;
    char detail[600];

    by_class(err->rc, ret_status, &type, &class_code);
    for (size_t i = 0; err->id != NULL && i < sizeof(by_id) / sizeof(by_id[0]); i++)
        if (strcmp(by_id[i].id, err->id) == 0) {
            *ret_status = by_id[i].status;
            type = by_id[i].type;
            class_code = by_id[i].code;
        }
    (void)tr_err_text(err, detail, sizeof(detail));
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "type", type, "code",
                     code != NULL ? code : class_code, "detail", api_json_str(tr_str_of(detail)),
                     "attr", api_json_text(attr), "reason", api_json_text(err->id), "hint",
                     api_json_text(err->hint));
}

enum tr_rc api_bad(struct api_call *c, struct tr_err *err, const char *attr, const char *code,
                   const char *hint, const char *fmt, ...)
{
    char text[sizeof(err->cause)];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    (void)snprintf(c->attr, sizeof(c->attr), "%s", attr == NULL ? "" : attr);
    c->code = code;
    return tr_fail(err, TR_INVALID, "api.invalid", hint, "%s", text);
}

enum tr_rc api_not_found(struct tr_err *err, const char *what)
{
    return tr_fail(err, TR_INVALID, "api.not_found", NULL, "no such %s", what);
}
