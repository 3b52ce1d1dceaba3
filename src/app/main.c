#include <stdio.h>

int main(void)
{
    puts("tailrace " TR_VERSION);
    return 0;
}
