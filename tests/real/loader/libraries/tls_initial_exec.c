__thread int fixed __attribute__((tls_model("initial-exec"))) = 4;

int get(void) { return fixed++; }
