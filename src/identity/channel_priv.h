/* The lists behind channel.c. */
#ifndef TR_IDENTITY_CHANNEL_PRIV_H
#define TR_IDENTITY_CHANNEL_PRIV_H

#include <stddef.h>

enum channel_kind {
    CHANNEL_SEARCH,
    CHANNEL_SOCIAL,
    CHANNEL_VIDEO,
    CHANNEL_SHOPPING,
    CHANNEL_EMAIL,
    CHANNEL_SMS,
    CHANNEL_AFFILIATE,
    CHANNEL_DISPLAY,
    CHANNEL_AUDIO,
    CHANNEL_PUSH,
    CHANNEL_REFERRAL,
};

struct channel_name {
    const char *name; /* lower case */
    enum channel_kind kind;
};

extern const struct channel_name channel_sources[], channel_mediums[];
extern const size_t channel_sources_n, channel_mediums_n;

#endif
