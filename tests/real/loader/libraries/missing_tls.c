/* Thread-local storage of its own, and a name that is nowhere: also where calls are bound lazily, the load fails. */
static __thread int own[100] = { 1 };
extern __thread int this_variable_is_nowhere;
int get(void) { return this_variable_is_nowhere + own[3]++; }
