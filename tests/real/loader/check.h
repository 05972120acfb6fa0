#include <stdio.h>
#include <stdlib.h>

/* A check that fails says where and ends the program. */
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
            _Exit(1); \
        } \
    } while (0)
