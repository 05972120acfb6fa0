/* What makes linkers write relocations: pointers to functions and data, here and in the C library, with addends, in
 * constant and in packed data; calls through the procedure linkage table. */
#include <stdlib.h>
#include <string.h>

static int values[10] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 };
int visible[4] = { 1, 2, 3, 4 };
static int local_function(int x) { return x + 1; }
int global_function(int x) { return x + 2; }

static int *const relative[] = { values, values + 3, &values[9] };
int *symbolic[] = { visible, visible + 2 };
int (*const functions[])(int) = { local_function, global_function, abs };
size_t (*length)(const char *) = strlen;

#if defined __x86_64__ || defined __i386__ || defined __aarch64__ || defined __powerpc__ || defined __s390x__
struct { char c; int *pointer; } __attribute__((packed)) unaligned = { 'x', values + 5 };
#define UNALIGNED (*unaligned.pointer == 5)
#else
#define UNALIGNED 1
#endif

int all_right(void) {
    int *volatile *r = (int *volatile *)relative;
    int (*volatile const *f)(int) = (int (*volatile const *)(int))functions;
    return *r[0] == 0 && *r[1] == 3 && *r[2] == 9 && *symbolic[0] == 1 && *symbolic[1] == 3
        && f[0](1) == 2 && f[1](1) == 3 && f[2](-5) == 5 && length("four") == 4 && UNALIGNED;
}

const void *constant_pointers(void) { return relative; }
