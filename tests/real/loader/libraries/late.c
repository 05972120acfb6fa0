int comes_later(void) { return 77; }
