#include <curl/curl.h>

#include "cli/cli_priv.h"

int tr_cli_main(int argc, char **argv)
{
    struct cli c;
    bool help = false;
    int status = cli_parse(argc, argv, &c, &help);

    if (status != CLI_OK || help)
        return status;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        (void)fprintf(stderr, "error: the HTTP client does not start\n");
        return CLI_REFUSED;
    }
    status = cli_only_export(&c);
    if (status == CLI_OK)
        status = c.command->run(&c);
    curl_global_cleanup();
    if (fflush(stdout) != 0 && status == CLI_OK)
        status = CLI_REFUSED;
    return status;
}
