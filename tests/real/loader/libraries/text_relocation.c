/* A pointer in a read-only section: the linker is told to permit it. */
extern int answer_here;
int answer_here = 5;
__asm__(".section .rodata,\"a\"\n.balign 8\n.globl pointer_in_text\n.hidden pointer_in_text\npointer_in_text:\n"
#if __SIZEOF_POINTER__ == 8
        ".quad answer_here\n"
#else
        ".long answer_here\n"
#endif
        ".text\n");
extern int *const pointer_in_text __attribute__((visibility("hidden")));

int all_right(void) { return *pointer_in_text == 5; }
