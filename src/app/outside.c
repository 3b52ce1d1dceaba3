/* Where this process may connect to, and as whom: said once, before anything connects. */
#include <string.h>

#include "app/app_priv.h"
#include "auth/google.h"
#include "auth/seal.h"
#include "net/http_policy.h"
#include "os/file.h"

enum tr_rc app_set_egress(const struct app *a, struct tr_err *err)
{
    const char *egress = a->o.egress;
    bool public_only = strcmp(egress, "public") == 0;

    if (!public_only && strcmp(egress, "any") != 0)
        return tr_fail(err, TR_INVALID, "app.egress", NULL,
                       "--egress: there are any and public, not '%.40s'", egress);
    if (tr_egress_set(public_only, a->o.allow_hosts, err) != TR_OK)
        return tr_wrap(err, "--allow-hosts");
    if (tr_egress_set_iam(a->o.iam_hosts, err) != TR_OK)
        return tr_wrap(err, "--iam-hosts");
    return TR_OK;
}

enum tr_rc app_set_identity(const struct app *a, struct tr_err *err)
{
    static const char metadata[] = "metadata";
    const char *own = a->o.google_identity;
    TR_CLEANUP(tr_wipe) struct tr_buf file;
    enum tr_rc rc = TR_OK;

    tr_buf_init(&file, TR_GOOGLE_KEY_FILE_MAX + 1);
    if (own[0] != '\0' && strncmp(own, metadata, sizeof(metadata) - 1) != 0) {
        rc = tr_file_read(own, &file, err);
        tr_buf_ch(&file, '\0');
        own = file.p;
    }
    if (rc == TR_OK)
        rc = tr_google_process_set(own, &a->organization, err);
    return rc == TR_OK ? rc : tr_wrap(err, "--google-identity");
}
