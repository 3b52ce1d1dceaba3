#include "model/run.h"

#include "base/str.h"

static const char *const state_names[] = {
    [TR_RUN_STARTING] = "Starting",
    [TR_RUN_RUNNING] = "Running",
    [TR_RUN_RETRYING] = "FailedRetryable",
    [TR_RUN_COMPLETED] = "Completed",
    [TR_RUN_FAILED] = "Failed",
    [TR_RUN_CANCELLED] = "Cancelled",
};

static const char *const on_delivered_names[] = {
    [TR_SKIP_DELIVERED] = "skip",
    [TR_REPLACE_DELIVERED] = "replace",
    [TR_APPEND_DELIVERED] = "append",
};

enum {
    STATES = sizeof(state_names) / sizeof(state_names[0]),
    ON_DELIVERED = sizeof(on_delivered_names) / sizeof(on_delivered_names[0]),
};

static int find(const char *const *names, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

const char *tr_run_state_name(enum tr_run_state s)
{
    return state_names[s];
}

bool tr_run_state_parse(const char *name, enum tr_run_state *ret)
{
    int i = find(state_names, STATES, name);

    if (i < 0)
        return false;
    *ret = (enum tr_run_state)i;
    return true;
}

const char *tr_on_delivered_name(enum tr_on_delivered o)
{
    return on_delivered_names[o];
}

bool tr_on_delivered_parse(const char *name, enum tr_on_delivered *ret)
{
    int i = find(on_delivered_names, ON_DELIVERED, name);

    if (i < 0)
        return false;
    *ret = (enum tr_on_delivered)i;
    return true;
}
