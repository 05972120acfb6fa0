#include "exception.h"

Problem::~Problem() {}
static int destroyed;
struct Guard { ~Guard() { destroyed++; } };
extern "C" int guards_destroyed() { return destroyed; }
extern "C" void throw_problem(int number) {
    Guard guard;
    throw Problem(number);
}
