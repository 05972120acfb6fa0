#include <stdio.h>
#include <stdlib.h>


int c_value(void) { return 1; }

static void at_exit(void) { puts("atexit of c"); }

__attribute__((constructor)) static void construct(void) {
    printf("constructor of c: %d\n", c_value());
    atexit(at_exit);
}

__attribute__((destructor)) static void destroy(void) { puts("destructor of c"); }
