/* The commands that talk to a server's API, and the offline ones (store stat, store check).
 * Exit status: 0 done, 1 refused or failed (with the reason on stderr), 2 usage. */
#ifndef TR_CLI_CLI_H
#define TR_CLI_CLI_H

/* argv[0] is the command ("project", "export", "run", "backfill", "verify", "store"). */
int tr_cli_main(int argc, char **argv);

/* The commands and what they do, for `tailrace --help`. */
void tr_cli_usage(void);

#endif
