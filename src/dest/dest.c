#include "dest/dest.h"

const char tr_dest_rows_refused[] = "dest.rows_refused";
const char tr_dest_too_wide[] = "dest.too_wide";
const char tr_dest_not_own[] = "dest.not_own";
