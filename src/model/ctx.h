/* A struct tr_ctx is for every floor that waits: see base/ctx.h. */
#ifndef TR_MODEL_CTX_H
#define TR_MODEL_CTX_H

#include "base/ctx.h"

#endif
