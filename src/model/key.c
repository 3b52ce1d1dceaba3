#include "model/key.h"

#include <inttypes.h>
#include <stdio.h>

const char *tr_key_format(const struct tr_key *k, char out[TR_KEY_TEXT])
{
    char installation[TR_UUID_TEXT];
    char export_id[TR_UUID_TEXT];

    tr_uuid_format(&k->installation, installation);
    tr_uuid_format(&k->export_id, export_id);
    (void)snprintf(
        out, TR_KEY_TEXT, "%s/%" PRIu32 "/%s/%016" PRIx64 "/%" PRIu32 "/%" PRId64 "-%" PRId64,
        installation, k->epoch, export_id, k->target, k->generation, k->range.lo, k->range.hi);
    return out;
}
