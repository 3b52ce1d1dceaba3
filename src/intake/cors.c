/* Capture is open to every origin: what the real server answers, on errors too. */
#include "intake/intake_priv.h"

static bool is_printable(struct tr_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return true;
}

struct tr_str intake_cors(const struct tr_http_request *req, bool preflight, struct tr_buf *out)
{
    struct tr_str origin = tr_http_header_get(req, "origin");
    struct tr_str asked = tr_http_header_get(req, "access-control-request-headers");

    tr_buf_clear(out);
    if (origin.n > 0 && is_printable(origin))
        tr_buf_printf(out,
                      "Access-Control-Allow-Origin: %.*s\r\n"
                      "Access-Control-Allow-Credentials: true\r\nVary: Origin\r\n",
                      TR_STR_ARGS(origin));
    else if (preflight)
        tr_buf_z(out, "Access-Control-Allow-Origin: *\r\n");
    if (preflight) {
        tr_buf_z(out, "Access-Control-Allow-Methods: GET, POST, OPTIONS\r\n"
                      "Access-Control-Max-Age: 86400\r\n");
        if (asked.n > 0 && asked.n <= INTAKE_ASKED_HEADERS && is_printable(asked))
            tr_buf_printf(out, "Access-Control-Allow-Headers: %.*s\r\n", TR_STR_ARGS(asked));
    }
    return out->failed ? (struct tr_str){ NULL, 0 } : tr_buf_view(out);
}
