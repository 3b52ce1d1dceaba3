#include "dest/dest.h"

const char tr_dest_rows_refused[] = "dest.rows_refused";
