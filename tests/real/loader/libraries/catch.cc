#include "exception.h"

extern "C" void throw_problem(int);
extern "C" int catch_problem(int number) {
    try {
        throw_problem(number);
    } catch (const Base &problem) {
        return problem.number;
    } catch (...) {
        return -1;
    }
    return -2;
}
extern "C" int catch_from(void (*function)(int), int number) {
    try {
        function(number);
    } catch (const Problem &problem) {
        return problem.number;
    }
    return -2;
}
