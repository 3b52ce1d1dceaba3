/* contract NAME: holds the adapter of that name to the port's contract. */
#include <stdio.h>
#include <string.h>

#include "contract.h"

static const struct contract_place *const places[] = { &contract_bigquery, &contract_bigquery_live,
                                                       &contract_file, &contract_postgres };

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        const char *name = places[i]->name == NULL ? places[i]->ops->name : places[i]->name;
        if (argc != 2 || strcmp(argv[1], name) != 0)
            continue;
        const char *why = places[i]->setup();
        if (why != NULL) {
            (void)printf("1..0 # SKIP %s\n", why);
            return 0;
        }
        int failed = contract_dest(places[i]);
        places[i]->teardown();
        return failed;
    }
    (void)fprintf(stderr, "usage: contract ADAPTER\n");
    return 2;
}
