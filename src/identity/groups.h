/* Groups: up to five types a project, each with keys that have properties. Pure, like people.h. */
#ifndef TR_IDENTITY_GROUPS_H
#define TR_IDENTITY_GROUPS_H

#include "identity/props.h"
#include "model/event.h"

enum { TR_GROUP_TYPES = 5, TR_GROUP_TEXT = 400 /* characters of a type, of a key */ };

/* The types of a project in the order in which they appeared: the index of each. */
struct tr_group_types {
    size_t n;
    struct tr_str name[TR_GROUP_TYPES];
};

struct tr_group_row {
    int type;
    struct tr_str key;
    int64_t created_at, version, changed_at;
    struct tr_str properties;
};

/* The keeper. Views are valid until its next call. */
struct tr_groups_ops {
    TR_MUST_USE enum tr_rc (*types)(void *, int32_t project, const struct tr_group_types **ret,
                                    struct tr_err *);
    TR_MUST_USE enum tr_rc (*add_type)(void *, int32_t project, struct tr_str name,
                                       struct tr_err *);
    TR_MUST_USE enum tr_rc (*group)(void *, int32_t project, int type, struct tr_str key,
                                    struct tr_group_row *ret, bool *ret_found, struct tr_err *);
    TR_MUST_USE enum tr_rc (*keep)(void *, int32_t project, const struct tr_group_row *,
                                   struct tr_err *);
    TR_MUST_USE enum tr_rc (*warn)(void *, int32_t project, const char *type,
                                   struct tr_str distinct_id, struct tr_str other, int64_t at,
                                   struct tr_err *);
};

struct tr_groups {
    const struct tr_groups_ops *ops;
    void *keeper;
    struct tr_props props;
    struct tr_buf type, key; /* their texts */
};

void tr_groups_init(struct tr_groups *g, const struct tr_groups_ops *ops, void *keeper);
void tr_groups_fini(struct tr_groups *g);

/* Applies an event: its $groups, and what $groupidentify says. */
TR_MUST_USE enum tr_rc tr_groups_event(struct tr_groups *g, const struct tr_event *e,
                                       const struct tr_facts *f, struct tr_err *err);

/* The keys of an event's $groups by the index of their type; p == NULL: none. texts holds those
 * that were written with escapes. $groups must be an object. */
TR_MUST_USE bool tr_groups_of(struct tr_str groups, const struct tr_group_types *types,
                              struct tr_arena *texts, struct tr_str ret[TR_GROUP_TYPES]);

#endif
