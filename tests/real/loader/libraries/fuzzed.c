/* A library with all that a loader reads, and no code that runs when it is loaded. */
#include <stdlib.h>
#include <string.h>

__thread int thread_local_number = 3;
static __thread int zero;
int numbers[] = { 1, 2, 3 };
int *pointers[] = { numbers, numbers + 2 };
size_t (*length)(const char *) = strlen;
const char *const names[] = { "one", "two" };
extern int nobody_defines_this __attribute__((weak));
int *weak_pointer = &nobody_defines_this;

int number(int i) { return *pointers[i & 1] + thread_local_number + zero; }
void *allocate(size_t n) { return n ? malloc(n) : weak_pointer; }
