/* Shared by the files of this folder only. */
#ifndef TR_DEST_FILE_FILE_PRIV_H
#define TR_DEST_FILE_FILE_PRIV_H

#include <sys/stat.h>
#include <sys/types.h>

#include "dest/file/file.h"
#include "encode/compress.h"

enum {
    FILE_PATH_MAX = 1024,  /* bytes of the option */
    FILE_MARKER_MAX = 255, /* bytes of the option */
    FILE_NAME = 128,
    FILE_PATH = 2048, /* bytes of any path made here */
    FILE_SHA256 = 32,
};

/* What a file of rows holds. */
struct file_facts {
    uint64_t rows, bytes;
    unsigned char sha256[FILE_SHA256]; /* of the bytes as they lie on the disk */
};

/* Chunks that this object wrote: their manifest need not read them again. */
struct file_written {
    struct tr_key key;
    enum tr_compression compression;
    struct file_facts facts;
};

struct file_dest {
    struct tr_dest base;
    char root[FILE_PATH_MAX + 1];     /* the folder, as file_clean_path makes it */
    char marker[FILE_MARKER_MAX + 1]; /* what must lie in root before anything is written; or "" */
    enum tr_compression compression;
    bool prepared;
    bool cleaned; /* of what dead processes left */
    struct tr_projection projection;
    char *names[TR_BATCH_COLUMNS]; /* owned; projection.name points at them */
    struct file_written *written;
    size_t n_written, cap_written;
};

struct file_dest *file_dest_of(struct tr_dest *d);

/* ---- file_conf.c ---- */

extern const struct tr_option file_options[];

/* What the options say; file_validate also looks where path leads. */
enum tr_rc file_check_options(const struct tr_conf *c, struct tr_err *err);
enum tr_rc file_validate(const struct tr_conf *c, struct tr_err *err);
void file_target(const struct tr_conf *c, struct tr_buf *out);

/* An absolute path with single slashes, no "." and none at its end. False when it is not absolute,
 * holds ".." or does not fit. */
bool file_clean_path(const char *path, char out[FILE_PATH_MAX + 1]);

/* ---- file_guard.c ---- */

/* Cuts an absolute path back to the nearest part that exists. */
TR_MUST_USE enum tr_rc file_nearest_existing(char *path, struct stat *st, struct tr_err *err);
/* TR_INVALID, file.data_folder: root, through whatever links, lies in the data folder. */
TR_MUST_USE enum tr_rc file_check_outside(const char *root, struct tr_err *err);
/* TR_TRANSIENT, file.no_marker: the marker that the options ask for is not there. */
TR_MUST_USE enum tr_rc file_check_marker(const struct file_dest *d, struct tr_err *err);

/* ---- file_name.c: pure ---- */

/* "<root>/<export id>": all that an export owns. */
void file_export_folder(const struct file_dest *d, const struct tr_uuid *export_id,
                        char out[FILE_PATH]);
/* "<root>/<export id>/tmp" */
void file_temp_folder(const struct file_dest *d, const struct tr_uuid *export_id,
                      char out[FILE_PATH]);
/* "<root>/<export id>/g<generation>-<epoch, 8 hex>" */
void file_folder(const struct file_dest *d, const struct tr_key *key, char out[FILE_PATH]);
/* "<lo>-<hi>.jsonl.gz" */
void file_chunk_name(struct tr_range range, enum tr_compression c, char out[FILE_NAME]);
/* "<lo>-<hi>_manifest.json" */
void file_manifest_name(struct tr_range range, char out[FILE_NAME]);
/* folder + "/" + name */
void file_join(const char *folder, const char *name, char out[FILE_PATH]);

/* ---- file_place.c: the file system ---- */

/* "<what> <path>: <errno>" with the class, id and hint that errno deserves. */
enum tr_rc file_fail(struct tr_err *err, int error, const char *what, const char *path);

/* Every missing folder of an absolute path, durably. ret_made (may be NULL) counts them. */
TR_MUST_USE enum tr_rc file_make_folders(const char *path, size_t *ret_made, struct tr_err *err);
TR_MUST_USE enum tr_rc file_sync_folder(const char *path, struct tr_err *err);

/* A new file of a name that no other attempt has, in folder (made when absent). */
TR_MUST_USE enum tr_rc file_temp_open(const char *folder, const char *name,
                                      char ret_path[FILE_PATH], int *ret_fd, struct tr_err *err);
/* Removes what dead processes left there more than an hour ago. */
void file_temp_clean(const char *folder);

TR_MUST_USE enum tr_rc file_write_all(int fd, const char *path, const void *p, size_t n,
                                      struct tr_err *err);
/* fsync and close; *fd becomes -1. */
TR_MUST_USE enum tr_rc file_settle(int *fd, const char *path, struct tr_err *err);

TR_MUST_USE enum tr_rc file_may_go_on(const struct tr_ctx *cx, struct tr_err *err);

/* ---- file_read.c ---- */

/* A line without its end; the view is valid during the call. */
typedef enum tr_rc file_each_line(void *arg, struct tr_str line, struct tr_err *err);

/* The file of a chunk, whatever its compression; the configured one first. False: there is none. */
bool file_find(const struct file_dest *d, const struct tr_key *key, char ret_path[FILE_PATH],
               enum tr_compression *ret);

/* Reads a whole file of rows. each may be NULL. TR_INVALID when it is not whole or damaged. */
TR_MUST_USE enum tr_rc file_read_rows(const struct tr_ctx *cx, const char *path,
                                      enum tr_compression c, file_each_line *each, void *arg,
                                      struct file_facts *ret, struct tr_err *err);

/* ---- file_json.c: manifests as documents ---- */

json_t *file_time_json(int64_t t);
/* Of a file that a manifest lists; checked by file_manifest_read. */
struct tr_range file_entry_range(const json_t *entry);

void file_facts_json(json_t *entry, const struct file_facts *facts);

/* *ret stays NULL when there is no such file. */
TR_MUST_USE enum tr_rc file_manifest_read(const char *path, json_t **ret, struct tr_err *err);
/* Sums up "rows" and "bytes", and puts it in its place whole and durably. */
TR_MUST_USE enum tr_rc file_manifest_write(const struct file_dest *d,
                                           const struct tr_uuid *export_id, const char *folder,
                                           const char *name, json_t *manifest, struct tr_err *err);
/* One at a time changes the manifests of an export; held as long as *ret_fd is open. */
TR_MUST_USE enum tr_rc file_lock(const struct tr_ctx *cx, const struct file_dest *d,
                                 const struct tr_uuid *export_id, int *ret_fd, struct tr_err *err);

/* ---- file_replace.c ---- */

/* Takes what files (a manifest's list) cover out of the manifests of older generations. */
TR_MUST_USE enum tr_rc file_replace_older(const struct tr_ctx *cx, const struct file_dest *d,
                                          const struct tr_key *run, const json_t *files,
                                          struct tr_err *err);

/* ---- file_trim.c ---- */

/* Rewrites a file of rows without those whose instant lies in one of the ranges. *ret_done is
 * false, and the file as it was, when the rows do not tell their instants. */
TR_MUST_USE enum tr_rc file_trim(const struct tr_ctx *cx, const struct file_dest *d,
                                 const struct tr_uuid *export_id, const char *folder,
                                 const char *name, enum tr_compression c,
                                 const struct tr_range *cut, size_t n, bool *ret_done,
                                 struct file_facts *ret, struct tr_err *err);

/* ---- operations ---- */

enum tr_rc file_begin(const struct tr_ctx *cx, struct tr_dest *dest,
                      const struct tr_load_spec *spec, struct tr_load **ret, struct tr_err *err);
enum tr_rc file_lookup(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_key *key,
                       enum tr_chunk_state *ret, struct tr_receipt *ret_receipt,
                       struct tr_err *err);
enum tr_rc file_published(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_key *run,
                          const struct tr_key *chunk, bool *ret, struct tr_err *err);
enum tr_rc file_finish(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_key *run,
                       const struct tr_key *chunks, const struct tr_receipt *receipts, size_t n,
                       struct tr_err *err);
enum tr_rc file_recount(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_owner *owner,
                        const struct tr_key *keys, size_t n_keys, const struct tr_uuid *uuids,
                        size_t n, struct tr_recount *ret, struct tr_err *err);
enum tr_rc file_test(const struct tr_ctx *cx, struct tr_dest *dest, const struct tr_projection *p,
                     size_t step, struct tr_err *err);
extern const struct tr_dest_test file_tests[];

/* A generation whose chunks take the place of older ones has this file in its folder. */
#define FILE_REPLACES_MARK "replaces"

#endif
