#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

#include "intake/intake.h"
#include "intake/route.h"

static const struct route_case {
    const char *path;
    enum tr_route want;
    const char *token;
} cases[] = {
    { "/batch", TR_ROUTE_BATCH, NULL },
    { "/batch/", TR_ROUTE_BATCH, NULL },
    { "/batch//", TR_ROUTE_NONE, NULL },
    { "/batches", TR_ROUTE_NONE, NULL },
    { "/BATCH", TR_ROUTE_NONE, NULL },
    { "/e", TR_ROUTE_SINGLE, NULL },
    { "/e/", TR_ROUTE_SINGLE, NULL },
    { "/i/v0/e", TR_ROUTE_SINGLE, NULL },
    { "/i/v0/e/", TR_ROUTE_SINGLE, NULL },
    { "/capture/", TR_ROUTE_SINGLE, NULL },
    { "/track", TR_ROUTE_SINGLE, NULL },
    { "/engage/", TR_ROUTE_SINGLE, NULL },
    { "/i/v1/analytics/events", TR_ROUTE_V1, NULL },
    { "/i/v1/analytics/events/", TR_ROUTE_V1, NULL },
    { "/i/v1/ai/events", TR_ROUTE_AI_V1, NULL },
    { "/i/v1/ai/events/", TR_ROUTE_AI_V1, NULL },
    { "/i/v0/ai/batch", TR_ROUTE_AI_BATCH, NULL },
    { "/i/v0/ai/batch/", TR_ROUTE_AI_BATCH, NULL },
    { "/i/v0/ai/batches", TR_ROUTE_NONE, NULL },
    { "/i/v1/traces", TR_ROUTE_COUNTED, NULL },
    { "/v1/traces/", TR_ROUTE_COUNTED, NULL },
    { "/api/early_access_features/", TR_ROUTE_EARLY_ACCESS, NULL },
    { "/api/web_experiments/", TR_ROUTE_EXPERIMENTS, NULL },
    { "/api/product_tours/", TR_ROUTE_TOURS, NULL },
    { "/s/", TR_ROUTE_COUNTED, NULL },
    { "/i/v1/logs", TR_ROUTE_COUNTED, NULL },
    { "/i/v1/metrics", TR_ROUTE_COUNTED, NULL },
    { "/array/phc_x/config", TR_ROUTE_CONFIG, "phc_x" },
    { "/array/phc_x/config/", TR_ROUTE_CONFIG, "phc_x" },
    { "/array/phc_x/config.js", TR_ROUTE_CONFIG_JS, "phc_x" },
    { "/array/phc_x/array.js", TR_ROUTE_NONE, NULL },
    { "/array//config", TR_ROUTE_NONE, NULL },
    { "/array/", TR_ROUTE_NONE, NULL },
    { "/array", TR_ROUTE_NONE, NULL },
    { "/flags/", TR_ROUTE_FLAGS, NULL },
    { "/flags", TR_ROUTE_FLAGS, NULL },
    { "/decide/", TR_ROUTE_DECIDE, NULL },
    { "/api/surveys/", TR_ROUTE_SURVEYS, NULL },
    { "/api/projects/", TR_ROUTE_NONE, NULL },
    { "/flags/definitions", TR_ROUTE_DEFINITIONS, NULL },
    { "/api/feature_flag/local_evaluation/", TR_ROUTE_DEFINITIONS, NULL },
    { "/static/array.js", TR_ROUTE_STATIC, NULL },
    { "/static/1.2.3/recorder.js", TR_ROUTE_STATIC, NULL },
    { "/", TR_ROUTE_ROOT, NULL },
    { "/_liveness", TR_ROUTE_LIVENESS, NULL },
    { "/_readiness/", TR_ROUTE_READINESS, NULL },
    { "/metrics", TR_ROUTE_METRICS, NULL },
    { "*", TR_ROUTE_NONE, NULL },
    { "/nothing", TR_ROUTE_NONE, NULL },
};

static void paths_lead_to_routes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct route_case *c = &cases[i];
        struct tr_str token;

        print_message("  %s\n", c->path);
        assert_int_equal(tr_route_find(tr_str_of(c->path), &token), c->want);
        assert_true(tr_str_eq(token, tr_str_of(c->token)));
        assert_int_equal(tr_intake_owns(TR_HTTP_POST, tr_str_of(c->path)),
                         c->want != TR_ROUTE_NONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(paths_lead_to_routes) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
