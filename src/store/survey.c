/* tr_store_stat and tr_store_check: one JSON object about a folder that no server uses. */
#include "store/survey.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PROBLEMS_SHOWN = 200, PROBLEMS_BYTES = 1 << 20 };

void survey_problem(struct survey_problems *p, const char *file, uint64_t at, const char *fmt, ...)
{
    char what[512];
    va_list ap;

    if (p->n++ >= PROBLEMS_SHOWN)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    tr_buf_printf(&p->text, "%s{\"file\":", p->n > 1 ? "," : "");
    tr_buf_json_str(&p->text, tr_str_of(file));
    tr_buf_printf(&p->text, ",\"at\":%" PRIu64 ",\"what\":", at);
    tr_buf_json_str(&p->text, tr_str_of(what));
    tr_buf_ch(&p->text, '}');
}

static enum tr_rc read_positions(struct survey *v, struct tr_err *err)
{
    char path[STORE_PATH];
    sqlite3 *db = NULL;
    int64_t seq = 0;

    (void)snprintf(path, sizeof(path), "%s/state.db", v->dir);
    enum tr_rc rc = store_sql_open(path, false, &db, err);
    if (rc == TR_OK)
        rc = store_sql_int64(db, "SELECT seq FROM applied WHERE name = 'journal'", 0, &seq, err);
    if (rc == TR_OK)
        rc = store_sql_int64(db, "SELECT through FROM applied WHERE name = 'journal'", 0,
                             &v->applied_through, err);
    (void)sqlite3_close(db);
    v->applied_seq = (uint64_t)seq;
    if (rc != TR_OK)
        return tr_wrap(err, "state.db");

    (void)snprintf(path, sizeof(path), "%s/blocks.db", v->dir);
    db = NULL;
    rc = store_sql_open(path, false, &db, err);
    if (rc == TR_OK)
        rc = blocks_read_totals(db, &v->blocks, err);
    (void)sqlite3_close(db);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "blocks.db");
}

/* What is derived must come from a journal that is still there, or that was sealed. */
static void check_positions(struct survey *v)
{
    const uint64_t taken[] = { v->blocks.sealed_seq, v->applied_seq, v->dedup.through_seq };
    uint64_t most = 0;
    uint64_t least = UINT64_MAX;

    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        most = taken[i] > most ? taken[i] : most;
        least = taken[i] < least ? taken[i] : least;
    }
    if (v->journal.records > 0 && v->journal.last_seq < most)
        survey_problem(&v->problems, "journal", 0,
                       "it ends at record %" PRIu64 ", but record %" PRIu64 " was durable once",
                       v->journal.last_seq, most);
    if (v->journal.records > 0 && v->journal.first_seq > least + 1)
        survey_problem(&v->problems, "journal", 0,
                       "it begins at record %" PRIu64 ", but record %" PRIu64 " is needed",
                       v->journal.first_seq, least + 1);
}

static void write_json(const struct survey *v, bool with_problems, struct tr_buf *out)
{
    const struct survey_journal *j = &v->journal;
    char clock[STORE_CLOCK_TEXT];

    store_clock_load(v->dir, clock);
    tr_buf_z(out, "{\"folder\":");
    tr_buf_json_str(out, tr_str_of(v->dir));
    tr_buf_printf(out, ",\"epoch\":%" PRIu32 ",\"closed_through\":%" PRId64, v->id.epoch,
                  j->closed_through);
    tr_buf_printf(out, ",\"formats\":{\"journal\":%d,\"block\":%d,\"dedup\":%d}", JOURNAL_FORMAT,
                  BLOCK_FORMAT, DEDUP_FORMAT);
    tr_buf_printf(out,
                  ",\"journal\":{\"segments\":%" PRIu64 ",\"bytes\":%" PRIu64
                  ",\"records\":%" PRIu64 ",\"events\":%" PRIu64 ",\"first_record\":%" PRIu64
                  ",\"last_record\":%" PRIu64 ",\"torn_bytes\":%" PRIu64 "}",
                  j->segments, j->bytes, j->records, j->events, j->first_seq, j->last_seq,
                  j->torn_bytes);
    tr_buf_printf(out,
                  ",\"blocks\":{\"blocks\":%" PRIu64 ",\"events\":%" PRIu64 ",\"bytes\":%" PRIu64
                  ",\"sealed_record\":%" PRIu64 ",\"sealed_through\":%" PRId64 ",\"floor\":%" PRId64
                  "}",
                  v->blocks.blocks, v->blocks.events, v->blocks.bytes, v->blocks.sealed_seq,
                  v->blocks.sealed_through, v->blocks.floor);
    tr_buf_printf(out,
                  ",\"state\":{\"applied_record\":%" PRIu64 ",\"applied_through\":%" PRId64 "}",
                  v->applied_seq, v->applied_through);
    tr_buf_printf(out,
                  ",\"dedup\":{\"runs\":%" PRIu64 ",\"entries\":%" PRIu64 ",\"bytes\":%" PRIu64
                  ",\"through_record\":%" PRIu64 "},\"clock\":",
                  v->dedup.runs, v->dedup.entries, v->dedup.bytes, v->dedup.through_seq);
    tr_buf_json_str(out, tr_str_trim(tr_str_of(clock)));
    if (with_problems) {
        tr_buf_printf(out, ",\"sound\":%s,\"problems_found\":%zu,\"problems\":[",
                      v->problems.n == 0 ? "true" : "false", v->problems.n);
        tr_buf_str(out, tr_buf_view(&v->problems.text));
        tr_buf_ch(out, ']');
    }
    tr_buf_z(out, "}\n");
}

static enum tr_rc survey(struct survey *v, bool deep, struct tr_err *err)
{
    char path[STORE_PATH];

    if (snprintf(path, sizeof(path), "%s/blocks.db", v->dir) > STORE_PATH - 64)
        return tr_fail(err, TR_INVALID, "os.path_too_long", NULL, "folder name of %zu bytes",
                       strlen(v->dir));
    if (store_identity_load(v->dir, false, &v->id, err) != TR_OK)
        return err->rc;
    if (read_positions(v, err) != TR_OK ||
        survey_dedup(v->dir, &v->id, deep, &v->problems, &v->dedup, err) != TR_OK)
        return err->rc;
    enum tr_rc rc = deep ? survey_check(v, err)
                         : survey_journal(v->dir, &v->id, NULL, &v->problems, &v->journal, err);
    if (rc == TR_OK)
        check_positions(v);
    return rc;
}

static enum tr_rc report(const char *dir, bool deep, struct tr_buf *out, bool *ret_sound,
                         struct tr_err *err)
{
    struct survey v = { .dir = dir };

    tr_buf_init(&v.problems.text, PROBLEMS_BYTES);
    enum tr_rc rc = survey(&v, deep, err);
    if (rc == TR_OK) {
        write_json(&v, deep, out);
        *ret_sound = v.problems.n == 0;
    }
    tr_buf_fini(&v.problems.text);
    return rc == TR_OK ? TR_OK : tr_wrap(err, "look into %s", dir);
}

enum tr_rc tr_store_stat(const char *dir, struct tr_buf *out, struct tr_err *err)
{
    bool sound;

    return report(dir, false, out, &sound, err);
}

enum tr_rc tr_store_check(const char *dir, struct tr_buf *out, bool *ret_sound, struct tr_err *err)
{
    return report(dir, true, out, ret_sound, err);
}
