/* The channel that a visit came through: "Paid Search", "Organic Social", "Direct", ..
 *
 * Computed from the entry of a session whenever its row is read, so that better lists tell better
 * of old sessions too. The rules and their order are in docs/sessions.md, the lists in
 * channel_list.c.
 */
#ifndef TR_IDENTITY_CHANNEL_H
#define TR_IDENTITY_CHANNEL_H

#include "base/str.h"

/* Of the entry; empty where there is none. */
struct tr_channel {
    struct tr_str source, medium, campaign; /* utm_source .. */
    struct tr_str referring_domain;         /* "$direct" when there was no referrer */
    struct tr_str gclid, fbclid, gad_source;
};

/* Never NULL: "Unknown" in the end. */
const char *tr_channel_type(const struct tr_channel *c);

#endif
