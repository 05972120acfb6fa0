/* Built several times: thread-local storage and a constructor of its own each time. */
static __thread int mine[50] = { NUMBER };
static int constructed;
__attribute__((constructor)) static void construct(void) { constructed += NUMBER; }
int value(void) { return constructed == NUMBER ? mine[0]++ : -1; }
