#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int number = 42;
const char *text = "text of base";

/* Functions and data of the C library, of the program (none), and a weak name that nobody defines. */
extern char **environ;
extern int nobody_defines_this __attribute__((weak));
extern void nor_this(void) __attribute__((weak));

int answer(void) { return number; }

int uses_the_c_library(void) {
    char buffer[32];
    errno = 0;
    void *memory = malloc(100000);
    memset(memory, 1, 100000);
    free(memory);
    snprintf(buffer, sizeof buffer, "%.1f %d", sqrt(2.25), strtol("12", 0, 8) == 10);
    return !strcmp(buffer, "1.5 1") && environ && !errno && &nobody_defines_this == 0 && !nor_this;
}

int *address_of_errno(void) { return &errno; }
FILE *standard_output(void) { return stdout; }
