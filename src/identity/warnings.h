/* What is wrong with an event that was taken all the same, as far as it tells by itself. Pure. What
 * depends on persons and groups is told by people.h and groups.h.
 *
 * Types are those of the public server (its ingestion-warning-types.ts), so that its pages about
 * them hold here; docs/persons.md lists them. test/lib/reference_warnings.py tells the same slowly.
 */
#ifndef TR_IDENTITY_WARNINGS_H
#define TR_IDENTITY_WARNINGS_H

#include "identity/facts.h"
#include "model/event.h"

enum tr_event_warning {
    TR_WARN_PROCESS_PERSON_PROFILE, /* neither true nor false */
    TR_WARN_SESSION_ID,             /* no UUID */
    TR_WARN_WINDOW_ALONE,           /* $window_id without $session_id */
    TR_WARN_UUID_TIME,              /* a UUID of version 7, days off the timestamp */
    TR_WARN_UUID_VERSION,           /* no version 7, of a library that is not known for that */
    TR_WARN_CLIENT,                 /* the client tells of something itself */
    /* What capture saw: from the event's flags. */
    TR_WARN_TIMESTAMP,
    TR_WARN_DISTINCT_ID,
    TR_WARN_EVENT_NAME,
    TR_WARN_SHARED_UUID,
    TR_WARNINGS
};

/* Bits of enum tr_event_warning. */
uint32_t tr_event_warnings(const struct tr_event *e, const struct tr_facts *f);

/* "invalid_event_session_id" */
const char *tr_event_warning_type(enum tr_event_warning which);

/* What the example shows besides the distinct id, a view of the event: the value that is wrong, or
 * the library; p == NULL: nothing. */
struct tr_str tr_event_warning_other(enum tr_event_warning which, const struct tr_event *e,
                                     const struct tr_facts *f);

#endif
