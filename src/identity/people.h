/* Who an event belongs to: persons, and the distinct ids that lead to them. Pure: what is known is
 * asked of a keeper and told to it; nothing is kept here. docs/persons.md is the page for people,
 * test/lib/reference_persons.py the slow model that this is held to.
 *
 * Events must come in the order of ingestion. Everything written for an event has its inserted_at
 * as the instant of change.
 */
#ifndef TR_IDENTITY_PEOPLE_H
#define TR_IDENTITY_PEOPLE_H

#include "identity/props.h"
#include "model/event.h"

struct tr_person {
    int64_t row; /* the keeper's name for it; 0: not kept yet */
    struct tr_uuid id;
    int64_t created_at; /* timestamp of the event that made it */
    int64_t version, changed_at;
    bool identified, deleted;
    struct tr_str properties; /* a valid JSON object */
};

/* What a distinct id leads to. */
struct tr_mapping {
    int64_t person; /* row; 0: events without a person have used it, and nothing else has */
    int64_t version, changed_at;
    bool deleted;
};

/* The keeper. Views it gives are valid until it is asked for another person, or told of one. */
struct tr_people_ops {
    TR_MUST_USE enum tr_rc (*mapping)(void *, int32_t project, struct tr_str distinct_id,
                                      struct tr_mapping *ret, bool *ret_found, struct tr_err *);
    TR_MUST_USE enum tr_rc (*map)(void *, int32_t project, struct tr_str distinct_id,
                                  const struct tr_mapping *, struct tr_err *);
    /* By row, which it gave itself. */
    TR_MUST_USE enum tr_rc (*person)(void *, int32_t project, int64_t row, struct tr_person *ret,
                                     struct tr_err *);
    TR_MUST_USE enum tr_rc (*person_by_id)(void *, int32_t project, const struct tr_uuid *,
                                           struct tr_person *ret, bool *ret_found, struct tr_err *);
    /* Keeps it; gives it a row when it has none. */
    TR_MUST_USE enum tr_rc (*keep)(void *, int32_t project, struct tr_person *, struct tr_err *);
    /* Every living mapping to `from` leads to `to` from now on, its version one higher. */
    TR_MUST_USE enum tr_rc (*move)(void *, int32_t project, int64_t from, int64_t to, int64_t at,
                                   struct tr_err *);
    /* Every living mapping to the person is deleted, its version 100 higher. */
    TR_MUST_USE enum tr_rc (*unmap)(void *, int32_t project, int64_t person, int64_t at,
                                    struct tr_err *);
    TR_MUST_USE enum tr_rc (*warn)(void *, int32_t project, const char *type,
                                   struct tr_str distinct_id, struct tr_str other, int64_t at,
                                   struct tr_err *);
};

struct tr_people {
    const struct tr_people_ops *ops;
    void *keeper;
    struct tr_props props;
    struct tr_buf other; /* a second person's properties */
};

void tr_people_init(struct tr_people *p, const struct tr_people_ops *ops, void *keeper);
void tr_people_fini(struct tr_people *p);

/* The id of the person that is made for a distinct id: UUIDv5 of "<project>:<distinct id>". */
void tr_person_id(int32_t project, struct tr_str distinct_id, struct tr_uuid *ret);

/* row 0: it belongs to nobody; readers then show tr_person_id(). bare: to the person, but without
 * its properties. */
struct tr_belongs {
    int64_t row;
    bool bare;
    bool trimmed; /* the same event again would change the person again */
};

/* Applies an event. TR_INTERNAL only: the keeper's failures, memory. */
TR_MUST_USE enum tr_rc tr_people_event(struct tr_people *p, const struct tr_event *e,
                                       const struct tr_facts *f, struct tr_belongs *ret,
                                       struct tr_err *err);

/* The event may make or change a person: it has not been told not to, and is not one that the
 * public server drops. */
bool tr_people_is_full(const struct tr_event *e, const struct tr_facts *f);

/* The properties of its person that an event's row shows: those the person had after it, and what
 * the event set itself, though nobody was written; of an event without a person none. The view is
 * of properties or of p until its next use. TR_INTERNAL: no memory. */
TR_MUST_USE enum tr_rc tr_people_shown(struct tr_props *p, const struct tr_event *e,
                                       struct tr_str properties, struct tr_str *ret,
                                       struct tr_err *err);

/* For keepers that want to look less: false when the event may do more than update the person of
 * its distinct id. Else a hash of all that matters for that update: when the person is as the last
 * event with the same hash left it, this one changes nothing, unless that one was trimmed. */
bool tr_people_is_plain(const struct tr_event *e, const struct tr_facts *f, uint64_t *ret_hash);

/* A person deletes a person; its distinct ids too or not. Nothing happens when it is not there. */
TR_MUST_USE enum tr_rc tr_people_delete(struct tr_people *p, int32_t project,
                                        const struct tr_uuid *id, bool distinct_ids, int64_t at,
                                        bool *ret_found, struct tr_err *err);

/* Names that clients send for want of an id: joining persons by them would join strangers. */
bool tr_distinct_id_is_illegal(struct tr_str distinct_id);

#endif
