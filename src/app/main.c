/* tailrace: one program; its first argument says which part of it. */
#include <stdio.h>
#include <string.h>

#include "app/app_priv.h"
#include "cli/cli.h"
#include "os/kill.h"

static void usage(FILE *out)
{
    (void)fprintf(out, "tailrace " TR_VERSION
                       ": takes product-analytics events and delivers each once\n\n"
                       "Usage: tailrace COMMAND [options]\n\n"
                       "  serve        run the server\n");
    (void)fflush(out);
    tr_cli_usage();
    (void)fprintf(out,
                  "\ntailrace COMMAND --help says more. tailrace --version prints the version.\n");
}

int main(int argc, char **argv)
{
    const char *command = argc < 2 ? "" : argv[1];

    tr_kill_arm();
    if (strcmp(command, "serve") == 0) {
        app_huge_pages(argv);
        return app_serve(argc - 1, argv + 1);
    }
    if (strcmp(command, "--version") == 0 || strcmp(command, "version") == 0) {
        (void)puts("tailrace " TR_VERSION);
        return 0;
    }
    if (strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0 ||
        strcmp(command, "help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(command, "kill-points") == 0) {
        tr_kill_list(stdout);
        return 0;
    }
    if (argc < 2) {
        (void)fprintf(stderr, "error: which command? tailrace --help lists them\n");
        return 2;
    }
    return tr_cli_main(argc - 1, argv + 1);
}
