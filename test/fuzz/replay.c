/* Runs a fuzz target over the files given, or those in the folders given. Prints TAP. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static unsigned cases;

/* In memory of its own size, so that the sanitizer sees every step beyond it. */
static void replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    uint8_t *bytes = NULL;
    size_t n = 0;

    cases++;
    if (f == NULL || fstat(fileno(f), &st) != 0) {
        printf("not ok %u - %s cannot be read\n", cases, path);
    } else {
        n = (size_t)st.st_size;
        bytes = malloc(n == 0 ? 1 : n);
        if (bytes == NULL || fread(bytes, 1, n, f) != n) {
            printf("not ok %u - %s cannot be read\n", cases, path);
        } else {
            /* Said before the run: what crashed is the last line. */
            printf("# %s\n", path);
            (void)fflush(stdout);
            (void)LLVMFuzzerTestOneInput(bytes, n);
            printf("ok %u - %s\n", cases,
                   strrchr(path, '/') == NULL ? path : strrchr(path, '/') + 1);
        }
    }
    free(bytes);
    if (f != NULL)
        (void)fclose(f);
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void replay(const char *path)
{
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, visible, alphasort);

    if (n < 0) {
        replay_file(path);
        return;
    }
    for (int i = 0; i < n; i++) {
        char file[4096];
        (void)snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
        replay_file(file);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    if (cases == 0)
        printf("not ok 1 - nothing to replay\n");
    printf("1..%u\n", cases == 0 ? 1 : cases);
    return 0;
}
