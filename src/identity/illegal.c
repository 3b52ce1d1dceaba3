#include "identity/people.h"

static const char *const any_case[] = {
    "anonymous", "guest",     "distinctid", "distinct_id", "id",
    "email",     "undefined", "true",       "false",       "not_authenticated",
};
static const char *const exact[] = { "[object Object]", "NaN", "None", "none", "null", "0",
                                     "undefined" };

static bool is_listed(struct tr_str s)
{
    for (size_t i = 0; i < sizeof(any_case) / sizeof(any_case[0]); i++)
        if (tr_str_eq_nocase(s, tr_str_of(any_case[i])))
            return true;
    for (size_t i = 0; i < sizeof(exact) / sizeof(exact[0]); i++)
        if (tr_str_is(s, exact[i]))
            return true;
    return false;
}

/* Each also inside quotes. */
bool tr_distinct_id_is_illegal(struct tr_str distinct_id)
{
    struct tr_str s = distinct_id;

    if (tr_str_trim(s).n == 0 || is_listed(s))
        return true;
    if (s.n < 2 || (s.p[0] != '\'' && s.p[0] != '"') || s.p[s.n - 1] != s.p[0])
        return false;
    s = (struct tr_str){ s.p + 1, s.n - 2 };
    return is_listed(s);
}
