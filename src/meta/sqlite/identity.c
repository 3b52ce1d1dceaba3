/* Who this installation is, who may use its API, whose events it takes. */
#include "meta/sqlite/sqlite_priv.h"
#include "os/clock.h"
#include "os/random.h"

/* ---- identity ---- */

static enum tr_rc read_identity(struct meta *m, struct tr_uuid *ret_installation,
                                struct tr_uuid *ret_organization, bool *ret_there,
                                struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "SELECT installation, organization FROM identity");
    enum tr_rc rc = sql_next(&q, ret_there, err);

    if (rc == TR_OK && *ret_there) {
        sql_get_id(&q, ret_installation);
        sql_get_id(&q, ret_organization);
    }
    return rc;
}

static enum tr_rc make_identity(struct meta *m, struct tr_uuid *ret_installation,
                                struct tr_uuid *ret_organization, struct tr_err *err)
{
    *ret_installation = tr_random_uuid4();
    *ret_organization = tr_random_uuid4();

    TR_CLEANUP(sql_close) struct sql q = sql_open(m, "INSERT INTO identity VALUES (1, ?, ?)");
    sql_id(&q, ret_installation);
    sql_id(&q, ret_organization);
    return sql_run(&q, err);
}

enum tr_rc meta_identity(struct tr_meta *meta, struct tr_uuid *ret_installation,
                         struct tr_uuid *ret_organization, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    struct tr_uuid installation;
    struct tr_uuid organization;
    bool there = false;

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = read_identity(tx.m, &installation, &organization, &there, err);
    if (rc == TR_OK && !there)
        rc = make_identity(tx.m, &installation, &organization, err);
    rc = tx_commit(&tx, rc, err);
    if (rc == TR_OK) {
        *ret_installation = installation;
        *ret_organization = organization;
    }
    return rc;
}

/* ---- tokens of the API ---- */

enum tr_rc meta_token_add(struct tr_meta *meta, const uint8_t sha256[32], const char *label,
                          struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };

    enum tr_rc rc = tx_write(&tx, meta, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(tx.m, "INSERT INTO token VALUES (?, ?, ?)"
                                  " ON CONFLICT DO UPDATE SET label = excluded.label");
    sql_blob(&q, sha256, 32);
    sql_text(&q, label);
    sql_int(&q, tr_clock_wall_us());
    return tx_commit(&tx, sql_run(&q, err), err);
}

enum tr_rc meta_token_known(struct tr_meta *meta, const uint8_t sha256[32], bool *ret,
                            struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };

    enum tr_rc rc = tx_read(&tx, meta, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close) struct sql q = sql_open(tx.m, "SELECT 1 FROM token WHERE sha256 = ?");
    sql_blob(&q, sha256, 32);
    return sql_next(&q, ret, err);
}

enum tr_rc meta_token_any(struct tr_meta *meta, bool *ret, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };

    enum tr_rc rc = tx_read(&tx, meta, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close) struct sql q = sql_open(tx.m, "SELECT 1 FROM token LIMIT 1");
    return sql_next(&q, ret, err);
}

/* ---- projects ---- */

static void read_project(struct sql *q, struct tr_project *ret)
{
    ret->id = (int32_t)sql_get_int(q);
    sql_get_text(q, ret->name, sizeof(ret->name));
    sql_get_text(q, ret->capture_token, sizeof(ret->capture_token));
    ret->created_at = sql_get_int(q);
}

static enum tr_rc check_token_free(struct meta *m, const char *capture_token, struct tr_err *err)
{
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(m, "SELECT id FROM project WHERE capture_token = ?");
    bool there = false;

    sql_text(&q, capture_token);
    enum tr_rc rc = sql_next(&q, &there, err);
    if (rc == TR_OK && there)
        return tr_fail(err, TR_REFUSED, "meta.token_in_use", "choose another capture token",
                       "project %d has this capture token", (int)sql_get_int(&q));
    return rc;
}

static enum tr_rc check_project(const char *name, const char *capture_token, struct tr_err *err)
{
    struct tr_project p;

    if (name[0] == '\0' || strlen(name) >= sizeof(p.name))
        return tr_fail(err, TR_INVALID, "project.name", NULL, "name: must have 1 to %zu bytes",
                       sizeof(p.name) - 1);
    if (strlen(capture_token) >= sizeof(p.capture_token))
        return tr_fail(err, TR_INVALID, "project.capture_token", NULL,
                       "capture_token: must have 1 to %zu bytes", sizeof(p.capture_token) - 1);
    return TR_OK;
}

enum tr_rc meta_project_create(struct tr_meta *meta, const char *name, const char *capture_token,
                               struct tr_project *ret, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    struct tr_project p = { .created_at = tr_clock_wall_us() };
    char made[5 + 2 * 20] = "phc_";

    if (capture_token == NULL || capture_token[0] == '\0') {
        tr_random_hex(made + 4, 20);
        capture_token = made;
    }
    enum tr_rc rc = check_project(name, capture_token, err);
    if (rc == TR_OK)
        rc = tx_write(&tx, meta, err);
    if (rc == TR_OK)
        rc = check_token_free(tx.m, capture_token, err);
    if (rc != TR_OK)
        return rc;

    TR_CLEANUP(sql_close)
    struct sql q = sql_open(tx.m, "INSERT INTO project (name, capture_token, created_at)"
                                  " VALUES (?, ?, ?)");
    sql_text(&q, name);
    sql_text(&q, capture_token);
    sql_int(&q, p.created_at);
    rc = sql_run(&q, err);
    p.id = (int32_t)sqlite3_last_insert_rowid(tx.m->db);
    rc = tx_commit(&tx, rc, err);
    if (rc == TR_OK) {
        (void)snprintf(p.name, sizeof(p.name), "%s", name);
        (void)snprintf(p.capture_token, sizeof(p.capture_token), "%s", capture_token);
        *ret = p;
    }
    return rc;
}

enum tr_rc meta_project_get(struct tr_meta *meta, int32_t id, struct tr_project *ret,
                            struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    bool there = false;

    enum tr_rc rc = tx_read(&tx, meta, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(tx.m, "SELECT id, name, capture_token, created_at FROM project"
                                  " WHERE id = ?");
    sql_int(&q, id);
    rc = sql_next(&q, &there, err);
    if (rc == TR_OK && !there)
        return meta_not_found(err, "project");
    if (rc == TR_OK)
        read_project(&q, ret);
    return rc;
}

static enum tr_rc collect_projects(struct tr_meta *meta, struct rows *to, struct tr_err *err)
{
    TR_CLEANUP(tx_end) struct tx tx = { 0 };
    bool more = true;

    enum tr_rc rc = tx_read(&tx, meta, err);
    if (rc != TR_OK)
        return rc;
    TR_CLEANUP(sql_close)
    struct sql q = sql_open(tx.m, "SELECT id, name, capture_token, created_at FROM project"
                                  " ORDER BY id");
    while ((rc = sql_next(&q, &more, err)) == TR_OK && more) {
        struct tr_project *p = rows_add(to);
        if (p == NULL)
            return tr_fail_oom(err);
        read_project(&q, p);
    }
    return rc;
}

enum tr_rc meta_project_list(struct tr_meta *meta, bool (*each)(void *, const struct tr_project *),
                             void *arg, struct tr_err *err)
{
    TR_CLEANUP(rows_fini) struct rows all = { .size = sizeof(struct tr_project) };

    enum tr_rc rc = collect_projects(meta, &all, err);
    const struct tr_project *p = (const struct tr_project *)(const void *)all.p;
    for (size_t i = 0; rc == TR_OK && i < all.n; i++)
        if (!each(arg, &p[i]))
            break;
    return rc;
}
