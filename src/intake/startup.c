/* What SDKs ask when they start, answered so that they work: events flow, autocapture is on, and
 * what this program does not have (flags, surveys, recordings) is plainly not there. */
#include "intake/intake_priv.h"
#include "os/random.h"

/* autocapture_opt_out must come as a boolean or autocapture stays off; with hasFeatureFlags false,
 * apps that wait for flags would wait for ever, so the (empty) flags are offered. */
static const char config_json[] =
    "{\"supportedCompression\":[\"gzip\",\"gzip-js\"],\"autocapture_opt_out\":false,"
    "\"hasFeatureFlags\":true,\"sessionRecording\":false,\"surveys\":false,\"heatmaps\":false,"
    "\"capturePerformance\":false,\"autocaptureExceptions\":false,\"captureDeadClicks\":false,"
    "\"elementsChainAsString\":true,\"defaultIdentifiedOnly\":true,\"siteApps\":[],"
    "\"toolbarParams\":{},\"toolbarVersion\":\"toolbar\",\"isAuthenticated\":false";

void intake_config_json(struct tr_buf *out, struct tr_str token)
{
    tr_buf_clear(out);
    tr_buf_z(out, config_json);
    tr_buf_z(out, ",\"token\":");
    tr_buf_json_str(out, token);
    tr_buf_ch(out, '}');
}

void intake_config_js(struct tr_buf *out, struct tr_str token)
{
    tr_buf_clear(out);
    tr_buf_z(out, "(function(){window._POSTHOG_REMOTE_CONFIG=window._POSTHOG_REMOTE_CONFIG||{};"
                  "window._POSTHOG_REMOTE_CONFIG[");
    tr_buf_json_str(out, token);
    tr_buf_z(out, "]={config:");
    tr_buf_z(out, config_json);
    tr_buf_z(out, ",\"token\":");
    tr_buf_json_str(out, token);
    tr_buf_z(out, "},siteApps:[]};})();");
}

void intake_flags_json(struct tr_buf *out, bool with_config)
{
    struct tr_uuid id = tr_random_uuid4();
    char text[TR_UUID_TEXT];

    tr_uuid_format(&id, text);
    tr_buf_clear(out);
    if (with_config) {
        tr_buf_z(out, config_json);
        tr_buf_ch(out, ',');
    } else {
        tr_buf_ch(out, '{');
    }
    tr_buf_printf(out,
                  "\"flags\":{},\"featureFlags\":{},\"featureFlagPayloads\":{},"
                  "\"errorsWhileComputingFlags\":false,\"requestId\":\"%s\"}",
                  text);
}
