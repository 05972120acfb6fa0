/* Enough pointers that a table of packed relocations has bitmaps. */
static int cells[600];
#define P(i) cells + i
#define P10(i) P(i), P(i + 1), P(i + 2), P(i + 3), P(i + 4), P(i + 5), P(i + 6), P(i + 7), P(i + 8), P(i + 9)
#define P100(i) P10(i), P10(i + 10), P10(i + 20), P10(i + 30), P10(i + 40), P10(i + 50), P10(i + 60), P10(i + 70), P10(i + 80), P10(i + 90)
static int *pointers[] = { P100(0), P100(100), P100(200), 0, 0, 0, 0, 0, P100(300), P100(400), P100(500) };

int all_right(void) {
    int *volatile *p = pointers;
    for (int i = 0; i < 605; i++)
        if (p[i] != (i < 300 ? cells + i : i < 305 ? 0 : cells + i - 5)) return 0;
    return 1;
}
