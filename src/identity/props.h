/* The properties of a person or a group: a JSON object that is changed member by member.
 *
 * What stays keeps its bytes and its place; what is new is appended. Two values are equal when
 * their bytes are. Pure; a struct tr_props is scratch memory that is used again and again, by one
 * thread.
 */
#ifndef TR_IDENTITY_PROPS_H
#define TR_IDENTITY_PROPS_H

#include "base/arena.h"
#include "base/uuid.h"
#include "identity/facts.h"

/* Where properties end: what is longer than LIMIT is brought down to KEEP (PostHog's numbers). */
enum { TR_PROPS_LIMIT = 655360, TR_PROPS_KEEP = 524288 };

struct tr_props_member;

struct tr_props {
    struct tr_props_member *m;
    size_t n, cap;
    uint32_t *slots; /* 1 + an index of m; 0: free */
    size_t n_slots, cap_slots;
    struct tr_arena texts; /* keys that were written with escapes */
    struct tr_buf out;     /* the new object */
};

void tr_props_init(struct tr_props *p);
void tr_props_fini(struct tr_props *p);

/* Begins with a valid object; n == 0 is the empty one. TR_INTERNAL: no memory. */
TR_MUST_USE enum tr_rc tr_props_load(struct tr_props *p, struct tr_str object, struct tr_err *err);

/* Lays every member of a valid object over what is there, or (once) under it. */
TR_MUST_USE enum tr_rc tr_props_set(struct tr_props *p, struct tr_str object, bool once,
                                    struct tr_err *err);

/* What a person gets from an event: $set_once, $set, $unset and the automatic properties, in the
 * order that docs/persons.md tells. */
TR_MUST_USE enum tr_rc tr_props_update(struct tr_props *p, const struct tr_facts *f,
                                       struct tr_err *err);

/* What a person that the event makes begins with; f NULL: nothing but the event's id, which its
 * $creator_event_uuid is. */
TR_MUST_USE enum tr_rc tr_props_begin(struct tr_props *p, const struct tr_facts *f,
                                      const struct tr_uuid *event, struct tr_err *err);

/* A person's properties as an event's row shows them: with the event's own $set and automatic
 * properties laid over. The view is of object, when that changes nothing, or of p until the next
 * load. It is not cut. */
TR_MUST_USE enum tr_rc tr_props_overlay(struct tr_props *p, struct tr_str object,
                                        const struct tr_facts *f, struct tr_str *ret,
                                        struct tr_err *err);

/* What stands there now counts as loaded: of a merge. */
void tr_props_settle(struct tr_props *p);

/* What became of the object since it was loaded. Noise is another value of a property that comes
 * with every event (URLs, browsers, screens, some of $geoip_*) and nothing else. */
enum tr_props_change { TR_PROPS_SAME, TR_PROPS_NOISE, TR_PROPS_CHANGED };
enum tr_props_change tr_props_change(const struct tr_props *p);

/* The object as it is now, into p->out; the view is valid until the next load. What was too long is
 * cut: *ret_trimmed. */
TR_MUST_USE enum tr_rc tr_props_write(struct tr_props *p, struct tr_str *ret, bool *ret_trimmed,
                                      struct tr_err *err);

#endif
