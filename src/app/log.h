/* Lines for the operator on stderr: time, level, text. One write each, so that lines of several
 * threads do not mix. Nothing secret is ever given to it. */
#ifndef TR_APP_LOG_H
#define TR_APP_LOG_H

#include <stdbool.h>

#include "base/err.h"

/* False when level is no level. */
bool app_log_level(const char *level);

void app_log(const char *level, const char *fmt, ...) TR_FORMAT(2, 3);

/* "<what>: <error>", and the hint on a line of its own. */
void app_log_err(const char *level, const char *what, const struct tr_err *err);

#endif
