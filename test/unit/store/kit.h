/* What the store's tests share: a folder, a store in it, events that are known by a number. */
#ifndef TR_TEST_STORE_KIT_H
#define TR_TEST_STORE_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/event.h"
#include "store/store_priv.h"

struct kit {
    char dir[64];
    struct tr_store_options o;
    struct clock_source clock; /* the system's unless a test sets another */
    struct tr_store *s;
    size_t pad; /* bytes of padding in each event's properties */
};

/* A folder under TMPDIR, options by default. */
void kit_init(struct kit *k);
void kit_open(struct kit *k);
enum tr_rc kit_try_open(struct kit *k, struct tr_err *err);
void kit_close(struct kit *k);
/* Closes and removes the folder. */
void kit_fini(struct kit *k);

struct kit_event {
    int32_t project;
    uint64_t number;   /* tells the uuid */
    const char *event; /* NULL: "e<number % 7>" */
    const char *more;  /* put into properties as it is: ",\"a\":1"; NULL: nothing */
    enum tr_outcome outcome;
};

/* A group of events as they are. */
struct kit_group {
    struct tr_group g;
};
void kit_group_init(struct kit_group *ret, const struct tr_event *events, size_t n);
void kit_group_fini(struct kit_group *g);
enum tr_rc kit_send_group(struct kit *k, struct tr_group *g, struct tr_err *err);

/* One group, submitted and waited for. */
enum tr_rc kit_send(struct kit *k, struct kit_event *events, size_t n, struct tr_err *err);
enum tr_rc kit_send_refused(struct kit *k, int32_t project, uint32_t refused, struct tr_err *err);
/* n new events of a project with numbers from `first` on, in groups of `per`; asserts that all of
 * them are stored. */
void kit_store(struct kit *k, int32_t project, uint64_t first, size_t n, size_t per);

/* Packs one event as kit_send does. */
void kit_pack(struct tr_buf *out, const struct kit_event *e, size_t pad);
struct tr_uuid kit_uuid(uint64_t number);
uint64_t kit_number(const struct tr_uuid *u);

/* Closes the clock through now and returns it. */
int64_t kit_fence(struct kit *k);

/* Numbers of a project's events in [lo, hi), in the order read; asserts that instants increase.
 * Returns how many (at most cap are written). */
size_t kit_read(struct kit *k, int32_t project, struct tr_range range, uint64_t *numbers,
                size_t cap);
/* Everything of the project so far. */
size_t kit_read_all(struct kit *k, int32_t project, uint64_t *numbers, size_t cap);

void kit_seal_all(struct kit *k);

/* The newest file of dir/<folder> by name that ends in `ending`. */
void kit_last_file(struct kit *k, const char *folder, const char *ending, char out[256]);
int64_t kit_file_size(const char *path);
void kit_copy_dir(const char *from, const char *to);
void kit_flip(const char *path, int64_t at);
void kit_path(struct kit *k, const char *name, char out[256]);

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        struct tr_err err_ = { 0 };                                                                \
        enum tr_rc rc_ = (call);                                                                   \
        (void)err_;                                                                                \
        if (rc_ != TR_OK)                                                                          \
            fail_msg("%s: %s", #call, tr_rc_name(rc_));                                            \
    } while (0)

#endif
