/* Thread-local storage: initialized and zero, aligned, reached from inside and by dlsym. */
#include <stdint.h>

__thread int counter = 100;
__thread char zeros[1000];
__thread struct { char c; } __attribute__((aligned(64))) aligned = { 'x' };
static __thread int hidden_counter = 7;

int count(int n) {
    counter += n;
    hidden_counter++;
    zeros[counter % 1000]++;
    return counter;
}

int healthy(void) {
    return (uintptr_t)&aligned % 64 == 0 && aligned.c == 'x' && hidden_counter == 7 && !zeros[0] && !zeros[999];
}

int *address(void) { return &counter; }
