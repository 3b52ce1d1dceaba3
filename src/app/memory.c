/* How the server asks the system for memory. */
#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/app_priv.h"

/* What is known of people lies all over some hundred megabytes: in pages of 4 KiB nearly every look
 * misses the TLB. glibc (from 2.35 on) asks for huge pages when the environment says so before
 * main; so the program starts once more, as the same process. */
void app_huge_pages(char **argv)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n <= 0 || getenv("GLIBC_TUNABLES") != NULL ||
        setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 1) != 0)
        return;
    self[n] = '\0';
    (void)execv(self, argv); /* else it goes without */
}

/* Few arenas, and large blocks go back to the system: memory stays near what is in use. */
void app_bound_memory(void)
{
    (void)mallopt(M_ARENA_MAX, 2);
    (void)mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
}
