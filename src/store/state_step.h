/* An event as state is applied to it, with all that can be told without looking at any state. */
#ifndef TR_STORE_STATE_STEP_H
#define TR_STORE_STATE_STEP_H

#include "identity/facts.h"
#include "identity/session.h"
#include "identity/warnings.h"
#include "model/event.h"

struct session_key {
    int32_t project;
    struct tr_uuid id;
};

struct step {
    struct tr_event e;
    struct tr_facts f;
    struct session_key session;
    uint32_t mapping_hash, person_hash, session_hash;
    bool has_session;
    uint32_t warnings; /* bits of enum tr_event_warning */
};

/* Takes the packed event at packed.p + *at apart, and moves *at behind it. The views point into it.
 * TR_REFUSED "store.damaged" when it is none. */
TR_MUST_USE enum tr_rc step_read(struct step *w, struct tr_str packed, size_t *at,
                                 struct tr_err *err);

#endif
