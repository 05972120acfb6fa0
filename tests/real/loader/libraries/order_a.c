#include <stdio.h>
#include <stdlib.h>

int b_value(void); int c_value(void);
int a_value(void) { return b_value() + c_value(); }

static void at_exit(void) { puts("atexit of a"); }

__attribute__((constructor)) static void construct(void) {
    printf("constructor of a: %d\n", a_value());
    atexit(at_exit);
}

__attribute__((destructor)) static void destroy(void) { puts("destructor of a"); }
