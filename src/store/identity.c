/* The files "store" (who this store is) and "clock" (where its clock stood), as text for people. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "os/file.h"
#include "os/random.h"
#include "store/store_priv.h"

enum { IDENTITY_FORMAT = 1 };

static enum tr_rc make_identity(const char *path, struct store_identity *ret, struct tr_err *err)
{
    char text[256];

    do
        tr_random_bytes(ret, sizeof(*ret));
    while (ret->epoch == 0 || ret->salt == 0);
    int n = snprintf(text, sizeof(text),
                     "tailrace-store %d\nepoch %" PRIu32 "\nsalt %" PRIu32 "\nseed %" PRIu64 "\n",
                     IDENTITY_FORMAT, ret->epoch, ret->salt, ret->seed);
    return tr_file_replace(path, (struct tr_str){ text, (size_t)n }, 0600, err);
}

enum tr_rc store_identity_load(const char *dir, bool make, struct store_identity *ret,
                               struct tr_err *err)
{
    char path[STORE_PATH];
    struct tr_buf text;
    struct store_identity id = { 0 };
    int format = 0;

    (void)snprintf(path, sizeof(path), "%s/store", dir);
    tr_buf_init(&text, 4096);
    enum tr_rc rc = tr_file_read(path, &text, err);
    if (rc == TR_INVALID && make && strcmp(err->id, "os.no_file") == 0) {
        rc = make_identity(path, ret, err);
    } else if (rc == TR_OK) {
        tr_buf_ch(&text, '\0');
        int n = text.failed
                    ? 0
                    : sscanf(text.p,
                             "tailrace-store %d epoch %" SCNu32 " salt %" SCNu32 " seed %" SCNu64,
                             &format, &id.epoch, &id.salt, &id.seed);
        if (n >= 1 && format > IDENTITY_FORMAT)
            rc = tr_fail(err, TR_REFUSED, "store.newer_format",
                         "start the version of tailrace that wrote it, or a later one",
                         "%s has format %d; this program knows %d", path, format, IDENTITY_FORMAT);
        else if (n != 4 || id.epoch == 0)
            rc = tr_fail(err, TR_REFUSED, "store.damaged", "restore the data folder from a backup",
                         "%s cannot be read", path);
        else
            *ret = id;
    }
    tr_buf_fini(&text);
    return rc;
}

void store_clock_load(const char *dir, char out[STORE_CLOCK_TEXT])
{
    char path[STORE_PATH];
    struct tr_buf text;

    out[0] = '\0';
    (void)snprintf(path, sizeof(path), "%s/clock", dir);
    tr_buf_init(&text, STORE_CLOCK_TEXT - 1);
    if (tr_file_read(path, &text, &(struct tr_err){ 0 }) == TR_OK && text.n > 0) {
        memcpy(out, text.p, text.n);
        out[text.n] = '\0';
    }
    tr_buf_fini(&text);
}

enum tr_rc store_clock_save(struct tr_store *s, struct tr_err *err)
{
    char path[STORE_PATH];
    struct tr_buf text;

    (void)snprintf(path, sizeof(path), "%s/clock", s->dir);
    tr_buf_init(&text, STORE_CLOCK_TEXT - 1);
    (void)pthread_mutex_lock(&s->clock_lock);
    inclock_save(&s->clock, &text);
    (void)pthread_mutex_unlock(&s->clock_lock);
    enum tr_rc rc = tr_file_replace(path, tr_buf_view(&text), 0600, err);
    tr_buf_fini(&text);
    return rc;
}
