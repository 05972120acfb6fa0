int this_function_is_nowhere(void);
int (*pointer)(void) = this_function_is_nowhere;
int call(void) { return this_function_is_nowhere(); }
