/* Private parts of the keyring. */
#ifndef TR_AUTH_KEYRING_PRIV_H
#define TR_AUTH_KEYRING_PRIV_H

#include "auth/seal.h"

enum { KEY_BYTES = 32, KEY_ID = 32, KEYS_MOST = 32 };

struct key {
    char id[KEY_ID + 1];
    unsigned char bytes[KEY_BYTES];
};

struct tr_keyring {
    size_t n;
    struct key keys[KEYS_MOST]; /* the first one seals */
};

const struct key *keyring_find(const struct tr_keyring *k, struct tr_str id);

#endif
