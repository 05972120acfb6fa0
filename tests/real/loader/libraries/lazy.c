int comes_later(void);
int call(void) { return comes_later(); }
