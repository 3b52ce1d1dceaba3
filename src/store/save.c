#include "store/save.h"

#include <sys/resource.h>
#include <unistd.h>

#include "os/kill.h"
#include "os/thread.h"

enum {
    ROWS_PER_TURN = 8,
    WAL_PAGES_MOST = 65536, /* 256 MiB: then the log is made shorter before the save ends */
};

static int on_commit(void *save, sqlite3 *db, const char *name, int pages)
{
    struct save *s = save;

    (void)db;
    (void)name;
    s->wal_pages = pages;
    return SQLITE_OK;
}

void save_init(struct save *s, sqlite3 *db)
{
    s->db = db;
    (void)sqlite3_wal_hook(db, on_commit, s);
}

static void drop_images(struct save *s)
{
    for (size_t i = 0; i < SAVE_IMAGES; i++)
        cache_image_fini(&s->images[i]);
}

void save_fini(struct save *s)
{
    struct tr_err ignored;
    bool ended;

    (void)!save_end(s, true, 0, &ended, &ignored);
    drop_images(s);
    turns_fini(&s->turns);
}

static enum tr_rc write_image(struct save *s, const struct cache_image *image, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    cache_image_sort(image);
    for (size_t i = 0; i < image->n && rc == TR_OK;) {
        turns_take(&s->turns);
        for (int k = 0; k < ROWS_PER_TURN && i < image->n && rc == TR_OK; k++)
            rc = cache_image_write(image, i++, err);
        atomic_store(&s->failed, rc != TR_OK);
        turns_give(&s->turns);
    }
    return rc;
}

static enum tr_rc commit(struct save *s, struct tr_err *err)
{
    turns_take(&s->turns);
    enum tr_rc rc = store_sql_exec(s->db, "COMMIT", err);
    if (rc == TR_OK)
        TR_KILL_POINT("derived.committed");
    if (rc == TR_OK && s->wal_pages >= WAL_PAGES_MOST)
        (void)sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    atomic_store(&s->failed, rc != TR_OK);
    turns_give(&s->turns);
    return rc;
}

static enum tr_rc write_all(struct save *s, struct tr_err *err)
{
    enum tr_rc rc = TR_OK;

    for (size_t i = 0; i < SAVE_IMAGES && rc == TR_OK; i++)
        rc = write_image(s, &s->images[i], err);
    drop_images(s);
    /* Lists of what is said to be applied must outlast it. */
    if (rc == TR_OK)
        rc = asof_sync(s->asof, err);
    TR_KILL_POINT("derived.before_commit");
    return rc == TR_OK ? commit(s, err) : rc;
}

static void *run(void *save)
{
    struct save *s = save;

    if (s->threaded) { /* not the niceness of who started it: nobody waits for this */
        (void)setpriority(PRIO_PROCESS, (id_t)gettid(), 0);
        atomic_store(&s->tid, gettid());
    }
    s->rc = write_all(s, &s->err);
    atomic_store(&s->ended, true);
    return NULL;
}

void save_start(struct save *s)
{
    struct tr_err ignored;

    s->active = true;
    s->err = (struct tr_err){ 0 };
    atomic_store(&s->ended, false);
    atomic_store(&s->failed, false);
    atomic_store(&s->tid, 0);
    s->threaded = true;
    if (tr_thread_start(&s->thread, "store-save", run, s, &ignored) == TR_OK)
        return;
    s->threaded = false;
    (void)run(s);
}

enum tr_rc save_end(struct save *s, bool wait, int niceness, bool *ret_ended, struct tr_err *err)
{
    *ret_ended = s->active && (wait || atomic_load(&s->ended));
    if (!*ret_ended)
        return TR_OK;
    if (s->threaded && !atomic_load(&s->ended) && atomic_load(&s->tid) != 0)
        (void)setpriority(PRIO_PROCESS, (id_t)atomic_load(&s->tid), niceness);
    if (s->threaded)
        (void)pthread_join(s->thread, NULL);
    s->active = false;
    if (s->rc != TR_OK && err != NULL)
        *err = s->err;
    return s->rc;
}
