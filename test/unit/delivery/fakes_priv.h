/* What the doubles share. */
#ifndef TEST_FAKES_PRIV_H
#define TEST_FAKES_PRIV_H

#include "fakes.h"
#include "os/thread.h"

extern pthread_mutex_t fake_script_lock;
extern const struct tr_source_ops fake_source_ops;

/* What an op is to return; TR_OK: go on, and after it had its effect ask fake_meet_after. */
enum tr_rc fake_meet(enum fake_op op, enum fake_fault *ret_after, struct tr_err *err);
enum tr_rc fake_meet_after(enum fake_fault after, struct tr_err *err);
/* Both, where nothing lies between. */
enum tr_rc fake_meet_simple(enum fake_op op, struct tr_err *err);

#endif
