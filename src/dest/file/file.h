/* The destination "File": rows into files of a folder, one file per chunk.
 *
 *   <path>/<export id>/g<generation>-<epoch>/<lo>-<hi>.jsonl[.gz|.zst]   a chunk
 *   <path>/<export id>/g<generation>-<epoch>/<lo>-<hi>_manifest.json     a run: the files that
 * count
 *
 * Names come from the key alone, a file appears whole or not at all, and a chunk counts once the
 * manifest of its run names it. docs/destinations/file.md is the page for people.
 */
#ifndef TR_DEST_FILE_FILE_H
#define TR_DEST_FILE_FILE_H

#include "dest/dest.h"

extern const struct tr_dest_ops tr_dest_file_ops;

/* validate refuses every path in this folder (the server's data folder, which exists) from now on.
 * Said once, before any export is made; NULL takes it back. Exports that were made before go on. */
TR_MUST_USE enum tr_rc tr_dest_file_keep_out(const char *folder, struct tr_err *err);

#endif
