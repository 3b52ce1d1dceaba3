/* Applies a history (test/lib/history.py) from standard input to persons and groups, kept in
 * memory, and prints events, persons, groups and warnings: identity/ alone, without a store.
 *
 * The views that this keeper gives die as soon as the contract lets them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "identity/groups.h"
#include "identity/people.h"

enum { PROJECTS = 1 << 14, ROWS = 64, WARNINGS = 16, LINE_MAX_BYTES = 1 << 26 };

struct mapping {
    char *id;
    struct tr_mapping m;
};

struct warning {
    const char *type;
    int count;
};

struct project {
    int32_t id;
    size_t n_persons, n_mappings, n_groups, n_warnings;
    struct tr_person persons[ROWS]; /* by row - 1; properties are their own */
    struct mapping mappings[ROWS];
    struct tr_group_row groups[ROWS];
    struct warning warnings[WARNINGS];
    struct tr_group_types types;
};

static struct project *projects[PROJECTS];
static char *lent; /* the properties that were given last */

static _Noreturn void die(const char *why)
{
    (void)fprintf(stderr, "people_driver: %s\n", why);
    exit(1);
}

static struct project *project_of(int32_t id)
{
    size_t at = (size_t)(uint32_t)id % PROJECTS;

    while (projects[at] != NULL && projects[at]->id != id)
        at = (at + 1) % PROJECTS;
    if (projects[at] == NULL) {
        projects[at] = calloc(1, sizeof(struct project));
        if (projects[at] == NULL)
            die("out of memory");
        projects[at]->id = id;
    }
    return projects[at];
}

static struct tr_str copy(struct tr_str s)
{
    char *p = malloc(s.n + 1);

    if (p == NULL)
        die("out of memory");
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return (struct tr_str){ p, s.n };
}

static void forget(void)
{
    free(lent);
    lent = NULL;
}

static struct tr_str lend(struct tr_str s)
{
    struct tr_str mine = copy(s);

    forget();
    lent = (char *)(uintptr_t)mine.p;
    return mine;
}

/* ---- the keeper of persons ---- */

static struct mapping *find_mapping(struct project *p, struct tr_str id)
{
    for (size_t i = 0; i < p->n_mappings; i++)
        if (tr_str_is(id, p->mappings[i].id))
            return &p->mappings[i];
    return NULL;
}

static enum tr_rc get_mapping(void *keeper, int32_t project, struct tr_str id,
                              struct tr_mapping *ret, bool *ret_found, struct tr_err *err)
{
    struct mapping *m = find_mapping(project_of(project), id);

    (void)keeper;
    (void)err;
    *ret_found = m != NULL;
    if (m != NULL)
        *ret = m->m;
    return TR_OK;
}

static enum tr_rc put_mapping(void *keeper, int32_t project, struct tr_str id,
                              const struct tr_mapping *mapping, struct tr_err *err)
{
    struct project *p = project_of(project);
    struct mapping *m = find_mapping(p, id);

    (void)keeper;
    (void)err;
    if (m == NULL) {
        if (p->n_mappings == ROWS)
            die("too many distinct ids");
        m = &p->mappings[p->n_mappings++];
        m->id = (char *)(uintptr_t)copy(id).p;
    }
    m->m = *mapping;
    return TR_OK;
}

static void give(struct tr_person *to, const struct tr_person *from)
{
    *to = *from;
    to->properties = lend(from->properties);
}

static enum tr_rc get_person(void *keeper, int32_t project, int64_t row, struct tr_person *ret,
                             struct tr_err *err)
{
    struct project *p = project_of(project);

    (void)keeper;
    (void)err;
    if (row < 1 || (size_t)row > p->n_persons)
        die("a person is asked for that was never kept");
    give(ret, &p->persons[row - 1]);
    return TR_OK;
}

static enum tr_rc get_person_by_id(void *keeper, int32_t project, const struct tr_uuid *id,
                                   struct tr_person *ret, bool *ret_found, struct tr_err *err)
{
    struct project *p = project_of(project);

    (void)keeper;
    (void)err;
    *ret_found = false;
    for (size_t i = 0; i < p->n_persons && !*ret_found; i++) {
        if (memcmp(&p->persons[i].id, id, sizeof(*id)) != 0)
            continue;
        give(ret, &p->persons[i]);
        *ret_found = true;
    }
    return TR_OK;
}

static enum tr_rc keep_person(void *keeper, int32_t project, struct tr_person *person,
                              struct tr_err *err)
{
    struct project *p = project_of(project);
    struct tr_str properties = copy(person->properties);

    (void)keeper;
    (void)err;
    if (person->row == 0) {
        if (p->n_persons == ROWS)
            die("too many persons");
        person->row = (int64_t)++p->n_persons;
    }
    struct tr_person *kept = &p->persons[person->row - 1];
    free((char *)(uintptr_t)kept->properties.p);
    *kept = *person;
    kept->properties = properties;
    forget();
    return TR_OK;
}

static enum tr_rc move(void *keeper, int32_t project, int64_t from, int64_t to, int64_t at,
                       struct tr_err *err)
{
    struct project *p = project_of(project);

    (void)keeper;
    (void)err;
    for (size_t i = 0; i < p->n_mappings; i++) {
        struct tr_mapping *m = &p->mappings[i].m;
        if (m->person == from && !m->deleted)
            *m = (struct tr_mapping){ .person = to, .version = m->version + 1, .changed_at = at };
    }
    return TR_OK;
}

static enum tr_rc unmap(void *keeper, int32_t project, int64_t person, int64_t at,
                        struct tr_err *err)
{
    struct project *p = project_of(project);

    (void)keeper;
    (void)err;
    for (size_t i = 0; i < p->n_mappings; i++) {
        struct tr_mapping *m = &p->mappings[i].m;
        if (m->person != person || m->deleted)
            continue;
        m->version += 100;
        m->changed_at = at;
        m->deleted = true;
    }
    return TR_OK;
}

static enum tr_rc warn(void *keeper, int32_t project, const char *type, struct tr_str distinct_id,
                       struct tr_str other, int64_t at, struct tr_err *err)
{
    struct project *p = project_of(project);
    size_t i = 0;

    (void)keeper;
    (void)distinct_id;
    (void)other;
    (void)at;
    (void)err;
    while (i < p->n_warnings && strcmp(p->warnings[i].type, type) != 0)
        i++;
    if (i == WARNINGS)
        die("too many kinds of warnings");
    p->n_warnings += i == p->n_warnings;
    p->warnings[i].type = type;
    p->warnings[i].count++;
    return TR_OK;
}

/* ---- the keeper of groups ---- */

static enum tr_rc get_types(void *keeper, int32_t project, const struct tr_group_types **ret,
                            struct tr_err *err)
{
    (void)keeper;
    (void)err;
    *ret = &project_of(project)->types;
    return TR_OK;
}

static enum tr_rc add_type(void *keeper, int32_t project, struct tr_str name, struct tr_err *err)
{
    struct tr_group_types *types = &project_of(project)->types;

    (void)keeper;
    (void)err;
    if (types->n == TR_GROUP_TYPES)
        die("a sixth type of groups");
    types->name[types->n++] = copy(name);
    return TR_OK;
}

static enum tr_rc get_group(void *keeper, int32_t project, int type, struct tr_str key,
                            struct tr_group_row *ret, bool *ret_found, struct tr_err *err)
{
    struct project *p = project_of(project);

    (void)keeper;
    (void)err;
    *ret_found = false;
    for (size_t i = 0; i < p->n_groups && !*ret_found; i++) {
        if (p->groups[i].type != type || !tr_str_eq(p->groups[i].key, key))
            continue;
        *ret = p->groups[i];
        ret->properties = lend(p->groups[i].properties);
        *ret_found = true;
    }
    return TR_OK;
}

static enum tr_rc keep_group(void *keeper, int32_t project, const struct tr_group_row *group,
                             struct tr_err *err)
{
    struct project *p = project_of(project);
    struct tr_str properties = copy(group->properties);
    size_t i = 0;

    (void)keeper;
    (void)err;
    while (i < p->n_groups &&
           (p->groups[i].type != group->type || !tr_str_eq(p->groups[i].key, group->key)))
        i++;
    if (i == ROWS)
        die("too many groups");
    struct tr_str key = i == p->n_groups ? copy(group->key) : p->groups[i].key;
    p->n_groups += i == p->n_groups;
    free((char *)(uintptr_t)p->groups[i].properties.p);
    p->groups[i] = *group;
    p->groups[i].key = key;
    p->groups[i].properties = properties;
    forget();
    return TR_OK;
}

static const struct tr_people_ops people_ops = {
    .mapping = get_mapping,
    .map = put_mapping,
    .person = get_person,
    .person_by_id = get_person_by_id,
    .keep = keep_person,
    .move = move,
    .unmap = unmap,
    .warn = warn,
};

static const struct tr_groups_ops groups_ops = {
    .types = get_types,
    .add_type = add_type,
    .group = get_group,
    .keep = keep_group,
    .warn = warn,
};

/* ---- commands ---- */

struct driver {
    struct tr_people people;
    struct tr_groups groups;
    struct tr_buf event, distinct_id, out;
    struct tr_arena texts;
};

static struct tr_json_value member(struct tr_str line, const char *name)
{
    struct tr_json_value v;

    if (!tr_json_find(line, tr_str_of(name), &v))
        die("a member is missing");
    return v;
}

static int64_t number(struct tr_str line, const char *name)
{
    struct tr_json_value v = member(line, name);
    int64_t n;

    if (!tr_json_int64(&v, &n))
        die("a number is expected");
    return n;
}

static void put_uuid(struct tr_buf *out, const struct tr_uuid *id)
{
    char text[TR_UUID_TEXT];

    tr_uuid_format(id, text);
    tr_buf_json_str(out, tr_str_of(text));
}

static void flush(struct tr_buf *out)
{
    if (out->failed)
        die("a row is too long");
    (void)fwrite(out->p, 1, out->n, stdout);
    tr_buf_clear(out);
}

static void put_event(struct driver *d, const struct tr_event *e, const struct tr_facts *f,
                      struct tr_str uuid, const struct tr_belongs *to)
{
    const struct tr_json_value *groups = tr_fact(f, TR_FACT_GROUPS);
    struct project *p = project_of(e->project);
    struct tr_str keys[TR_GROUP_TYPES] = { { NULL, 0 } };
    struct tr_uuid id = to->id;

    if (to->row == 0)
        tr_person_id(e->project, e->distinct_id, &id);
    tr_arena_reset(&d->texts);
    if (groups != NULL && groups->type == TR_JSON_OBJECT &&
        !tr_groups_of(groups->raw, &p->types, &d->texts, keys))
        die("out of memory");
    tr_buf_printf(&d->out, "{\"row\":\"event\",\"project\":%d,\"uuid\":", (int)e->project);
    tr_buf_str(&d->out, uuid);
    tr_buf_z(&d->out, ",\"person_id\":");
    put_uuid(&d->out, &id);
    tr_buf_z(&d->out, ",\"person_properties\":");
    tr_buf_str(&d->out, to->row == 0 ? TR_STR("{}") : p->persons[to->row - 1].properties);
    for (int i = 0; i < TR_GROUP_TYPES; i++) {
        tr_buf_printf(&d->out, ",\"$group_%d\":", i);
        if (keys[i].p == NULL)
            tr_buf_z(&d->out, "null");
        else
            tr_buf_json_str(&d->out, keys[i]);
    }
    tr_buf_z(&d->out, "}\n");
    flush(&d->out);
}

static void apply_event(struct driver *d, struct tr_str line)
{
    struct tr_json_value name = member(line, "event");
    struct tr_json_value who = member(line, "distinct_id");
    struct tr_event e = { .project = (int32_t)number(line, "project"),
                          .timestamp = number(line, "timestamp"),
                          .inserted_at = number(line, "inserted_at"),
                          .event = tr_json_text(&name, &d->event),
                          .distinct_id = tr_json_text(&who, &d->distinct_id),
                          .properties = member(line, "properties").raw };
    struct tr_facts f;
    struct tr_belongs to = { 0 };
    struct tr_err err = { 0 };

    tr_facts_read(e.properties, &f);
    if (tr_people_event(&d->people, &e, &f, &to, &err) != TR_OK ||
        tr_groups_event(&d->groups, &e, &f, &err) != TR_OK)
        die(err.cause);
    put_event(d, &e, &f, member(line, "uuid").raw, &to);
}

static void apply_delete(struct driver *d, struct tr_str line)
{
    struct tr_json_value person = member(line, "person_id");
    struct tr_json_value distinct_ids = member(line, "with_distinct_ids");
    struct tr_uuid id;
    struct tr_err err = { 0 };
    bool found;

    if (!tr_uuid_parse(tr_json_text(&person, &d->event), &id))
        die("a person's id is expected");
    if (tr_people_delete(&d->people, (int32_t)number(line, "project"), &id,
                         distinct_ids.type == TR_JSON_TRUE, number(line, "inserted_at"), &found,
                         &err) != TR_OK)
        die(err.cause);
}

/* ---- what is left in the end ---- */

static const char *bool_text(bool b)
{
    return b ? "true" : "false";
}

static void put_persons(const struct project *p, struct tr_buf *out)
{
    for (size_t i = 0; i < p->n_mappings; i++) {
        const struct tr_mapping *m = &p->mappings[i].m;
        if (m->person == 0)
            continue;
        const struct tr_person *person = &p->persons[m->person - 1];
        tr_buf_printf(out, "{\"row\":\"person\",\"team_id\":%d,\"distinct_id\":", (int)p->id);
        tr_buf_json_str(out, tr_str_of(p->mappings[i].id));
        tr_buf_z(out, ",\"person_id\":");
        put_uuid(out, &person->id);
        tr_buf_z(out, ",\"properties\":");
        tr_buf_str(out, person->properties);
        tr_buf_printf(out,
                      ",\"person_version\":%" PRId64 ",\"person_distinct_id_version\":%" PRId64
                      ",\"created_at\":%" PRId64 ",\"is_deleted\":%s,\"is_identified\":%s,"
                      "\"_inserted_at\":%" PRId64 "}\n",
                      person->version, m->version, person->created_at,
                      bool_text(person->deleted || m->deleted), bool_text(person->identified),
                      person->changed_at > m->changed_at ? person->changed_at : m->changed_at);
        flush(out);
    }
}

static void put_groups(const struct project *p, struct tr_buf *out)
{
    for (size_t i = 0; i < p->n_groups; i++) {
        const struct tr_group_row *g = &p->groups[i];
        tr_buf_printf(out, "{\"row\":\"group\",\"team_id\":%d,\"group_type_index\":%d,", (int)p->id,
                      g->type);
        tr_buf_z(out, "\"group_type\":");
        tr_buf_json_str(out, p->types.name[g->type]);
        tr_buf_z(out, ",\"group_key\":");
        tr_buf_json_str(out, g->key);
        tr_buf_z(out, ",\"group_properties\":");
        tr_buf_str(out, g->properties);
        tr_buf_printf(out,
                      ",\"group_version\":%" PRId64 ",\"created_at\":%" PRId64
                      ",\"_inserted_at\":%" PRId64 "}\n",
                      g->version, g->created_at, g->changed_at);
        flush(out);
    }
}

static void free_project(struct project *p)
{
    for (size_t i = 0; i < p->n_persons; i++)
        free((char *)(uintptr_t)p->persons[i].properties.p);
    for (size_t i = 0; i < p->n_mappings; i++)
        free(p->mappings[i].id);
    for (size_t i = 0; i < p->n_groups; i++) {
        free((char *)(uintptr_t)p->groups[i].properties.p);
        free((char *)(uintptr_t)p->groups[i].key.p);
    }
    for (size_t i = 0; i < p->types.n; i++)
        free((char *)(uintptr_t)p->types.name[i].p);
    free(p);
}

static void put_project(struct project *p, struct tr_buf *out)
{
    put_persons(p, out);
    put_groups(p, out);
    for (size_t i = 0; i < p->n_warnings; i++)
        (void)printf("{\"row\":\"warning\",\"project\":%d,\"type\":\"%s\",\"count\":%d}\n",
                     (int)p->id, p->warnings[i].type, p->warnings[i].count);
    free_project(p);
}

int main(void)
{
    struct driver d;
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;

    tr_people_init(&d.people, &people_ops, NULL);
    tr_groups_init(&d.groups, &groups_ops, NULL);
    tr_buf_init(&d.event, LINE_MAX_BYTES);
    tr_buf_init(&d.distinct_id, LINE_MAX_BYTES);
    tr_buf_init(&d.out, LINE_MAX_BYTES);
    tr_arena_init(&d.texts, LINE_MAX_BYTES);
    while ((n = getline(&line, &cap, stdin)) > 0) {
        struct tr_str s = { line, (size_t)n };
        struct tr_json_value what = member(s, "do");
        if (tr_json_text_is(&what, TR_STR("event")))
            apply_event(&d, s);
        else
            apply_delete(&d, s);
    }
    for (size_t i = 0; i < PROJECTS; i++)
        if (projects[i] != NULL)
            put_project(projects[i], &d.out);
    free(line);
    forget();
    tr_people_fini(&d.people);
    tr_groups_fini(&d.groups);
    tr_buf_fini(&d.event);
    tr_buf_fini(&d.distinct_id);
    tr_buf_fini(&d.out);
    tr_arena_fini(&d.texts);
    return 0;
}
