#include <stdio.h>
#include <stdlib.h>

int c_value(void);
int b_value(void) { return 10 * c_value(); }

static void at_exit(void) { puts("atexit of b"); }

__attribute__((constructor)) static void construct(void) {
    printf("constructor of b: %d\n", b_value());
    atexit(at_exit);
}

__attribute__((destructor)) static void destroy(void) { puts("destructor of b"); }
