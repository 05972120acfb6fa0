/* A static program with the loader. The first argument names what it does, the second is the directory of the libraries. */
#define _GNU_SOURCE
#include "check.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <loader.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *directory;
__thread int own_tls = 5; /* of the program: at a place that the linker fixed */

static char *path_of(const char *name) {
    static __thread char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void *load(const char *name, int mode) {
    void *handle = dlopen(path_of(name), mode);
    if (!handle) fprintf(stderr, "%s\n", dlerror());
    CHECK(handle);
    return handle;
}

static void *symbol(void *handle, const char *name) {
    void *found = dlsym(handle, name);
    if (!found) fprintf(stderr, "%s\n", dlerror());
    CHECK(found);
    return found;
}

#define CALL(handle, name, result, ...) (((result (*)())symbol(handle, name))(__VA_ARGS__))

static void symbols(void) {
    Dl_info info;
    void *base = load("base.so", RTLD_NOW), *self = dlopen(0, RTLD_NOW);
    CHECK(CALL(base, "answer", int) == 42);
    CHECK(*(int *)symbol(base, "number") == 42);
    CHECK(!strcmp(*(char **)symbol(base, "text"), "text of base"));
    CHECK(CALL(base, "uses_the_c_library", int));
    CHECK(CALL(base, "address_of_errno", int *) == &errno);
    CHECK(CALL(base, "standard_output", FILE *) == stdout);
    CHECK(symbol(base, "getpid") == symbol(self, "getpid")); /* as a dependency: there is one C library */

    CHECK(self && symbol(self, "strlen") == (void *)strlen && symbol(RTLD_DEFAULT, "environ") == (void *)&environ);
    CHECK(!dlsym(self, "number"));
    CHECK(strstr(dlerror(), "number"));
    CHECK(!dlerror());
    CHECK(!dlsym(base, "no_such_name") && strstr(dlerror(), "no_such_name"));
    CHECK(!dlsym(self, "main")); /* the program exports what it is linked to export, and nothing else */

    CHECK(load("base.so", RTLD_NOW | RTLD_GLOBAL) == base && symbol(self, "number") == symbol(base, "number"));
    CHECK(dlopen(path_of("base.so"), RTLD_NOW | RTLD_NOLOAD) == base);
    CHECK(!dlopen(path_of("relocations.so"), RTLD_NOW | RTLD_NOLOAD));
    CHECK(load("link-to-base.so", RTLD_NOW) == base);
    CHECK(CALL(load("gcc_versions.so", RTLD_NOW), "call", int) == 77);
    CHECK(dlopen("libc.so", RTLD_NOW) == self && dlopen("libpthread.so.0", RTLD_NOW) == self);
    CHECK(!dlclose(base) && CALL(base, "answer", int) == 42); /* as in musl: nothing is ever unloaded */
    CHECK(dlclose(&info) && strstr(dlerror(), "nvalid library handle"));
    CHECK(!dlsym(&info, "answer") && strstr(dlerror(), "nvalid library handle"));

    CHECK(dladdr(symbol(base, "answer"), &info) && !strcmp(info.dli_sname, "answer"));
    CHECK(!strcmp(info.dli_fname, path_of("base.so")) && info.dli_saddr == symbol(base, "answer"));
    CHECK(dladdr((void *)strlen, &info) && !strcmp(info.dli_sname, "strlen"));
    CHECK(!dladdr(&info, &info));
}

struct seen {
    int count, named, holds;
    unsigned long long adds;
    void *address, *tls;
};

static int look(struct dl_phdr_info *info, size_t size, void *data) {
    struct seen *seen = data;
    CHECK(size >= sizeof *info);
    seen->count++;
    seen->adds = info->dlpi_adds;
    if (strstr(info->dlpi_name, "/tls.so")) {
        seen->named++;
        seen->tls = info->dlpi_tls_data;
    }
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = info->dlpi_phdr + i;
        if (ph->p_type == PT_LOAD && (uintptr_t)seen->address - (info->dlpi_addr + ph->p_vaddr) < ph->p_memsz)
            seen->holds++;
    }
    return 0;
}

static void headers(void) {
    struct seen before = { .address = (void *)look }, after = { 0 };
    dl_iterate_phdr(look, &before);
    CHECK(before.count == 1 && before.holds == 1);
    void *tls = load("tls.so", RTLD_NOW);
    after.address = symbol(tls, "count");
    dl_iterate_phdr(look, &after);
    CHECK(after.count == 2 && after.named == 1 && after.holds == 1 && after.adds > before.adds);
    char *counter = CALL(tls, "address", char *);
    CHECK((char *)after.tls <= counter && counter < (char *)after.tls + 4096);
    CHECK(dl_iterate_phdr((int (*)(struct dl_phdr_info *, size_t, void *))look, &after) == 0);
}

__attribute__((destructor)) static void destroy(void) {
    if (directory && getenv("SAY")) puts("destructor of the program");
}

static void at_exit(void) { puts("atexit of the program"); }

static void order(void) {
    setenv("SAY", "1", 1);
    atexit(at_exit);
    printf("value: %d\n", CALL(load("order_a.so", RTLD_NOW), "a_value", int));
}

/* --- thread-local storage */

static pthread_barrier_t barrier;
static void *tls_library;

static void *older_thread(void *arg) {
    own_tls += 10;
    pthread_barrier_wait(&barrier); /* the library is loaded */
    pthread_barrier_wait(&barrier);
    CHECK(CALL(tls_library, "healthy", int));
    CHECK(CALL(tls_library, "count", int, 1) == 101 && CALL(tls_library, "count", int, 1) == 102);
    CHECK(*(int *)symbol(tls_library, "counter") == 102 && own_tls == 15);
    return CALL(tls_library, "address", void *);
}

static void *newer_thread(void *arg) {
    CHECK(own_tls == 5 && CALL(tls_library, "healthy", int) && CALL(tls_library, "count", int, 5) == 105);
    return CALL(tls_library, "address", void *);
}

static void tls_of(const char *name) {
    pthread_t older[3], newer;
    void *places[5];
    own_tls = 6;
    pthread_barrier_init(&barrier, 0, 4);
    for (int i = 0; i < 3; i++) CHECK(!pthread_create(&older[i], 0, older_thread, 0));
    pthread_barrier_wait(&barrier);
    tls_library = load(name, RTLD_NOW);
    CHECK(CALL(tls_library, "healthy", int) && CALL(tls_library, "count", int, 2) == 102);
    places[0] = CALL(tls_library, "address", void *);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 3; i++) CHECK(!pthread_join(older[i], &places[1 + i]));
    CHECK(!pthread_create(&newer, 0, newer_thread, 0) && !pthread_join(newer, 0));
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < i; j++) CHECK(places[i] != places[j]);
    CHECK(CALL(tls_library, "count", int, 0) == 102 && own_tls == 6);
    pid_t child = fork();
    if (!child) _exit(CALL(tls_library, "count", int, 1) == 103 && own_tls == 6 ? 0 : 1);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void tls(void) { tls_of("tls.so"); }
static void tls_descriptors(void) { tls_of("tls_descriptors.so"); }

/* --- relocations */

static void relocations(void) {
    static const char *const names[] = {
        "relocations.so", "relocations_sysv.so", "relocations_bound.so", "many.so", "many_packed.so", "text_relocation.so",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        CHECK(CALL(load(names[i], i & 1 ? RTLD_LAZY : RTLD_NOW), "all_right", int));
}

static void relro(void) {
    void *constant = CALL(load("relocations.so", RTLD_NOW), "constant_pointers", void *);
    pid_t child = fork();
    if (!child) {
        struct rlimit none = { 0, 0 };
        setrlimit(RLIMIT_CORE, &none);
        *(void *volatile *)constant = 0;
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void lazy(void) {
    /* A function that is nowhere yet: bound when the library that has it comes. */
    void *first = load("lazy.so", RTLD_LAZY);
    CHECK(!dlopen(path_of("missing_symbol.so"), RTLD_NOW) && strstr(dlerror(), "this_function_is_nowhere"));
    load("late.so", RTLD_NOW | RTLD_GLOBAL);
    CHECK(CALL(first, "call", int) == 77);
}

/* --- what others do at the same time */

enum { CROWD = 12 };
static volatile int stop, forked;

static void *passer_by(void *arg) { return (void *)(intptr_t)own_tls; }

static void *starts_threads(void *arg) {
    while (!stop) {
        pthread_t thread;
        void *result;
        CHECK(!pthread_create(&thread, 0, passer_by, 0) && !pthread_join(thread, &result) && result == (void *)5);
    }
    return 0;
}

static int count_objects(struct dl_phdr_info *info, size_t size, void *data) {
    ++*(int *)data;
    return 0;
}

static void *looks_around(void *arg) {
    while (!stop) {
        int n = 0;
        Dl_info info;
        dl_iterate_phdr(count_objects, &n);
        CHECK(n >= 1 && dladdr((void *)strlen, &info) && dlsym(RTLD_DEFAULT, "strlen"));
        CHECK(!dlopen(path_of("missing_symbol.so"), RTLD_NOW) && dlerror());
    }
    return 0;
}

static void *opener(void *arg) {
    unsigned seed = (unsigned)(uintptr_t)arg;
    for (int i = 0; i < 3 * CROWD; i++) {
        char name[32];
        seed = seed * 1103515245 + 12345;
        int number = seed / 65536 % CROWD + 1;
        snprintf(name, sizeof name, "crowd_%d.so", number);
        void *handle = dlopen(path_of(name), RTLD_NOW);
        if (!handle) {
            /* A library whose constructors another thread was running at fork can never be ready in the child. */
            const char *said = dlerror();
            if (forked && strstr(said, "multithreaded fork")) continue;
            fprintf(stderr, "%s\n", said);
        }
        CHECK(handle);
        CHECK(CALL(handle, "value", int) >= number);
    }
    return 0;
}

static void threads(void) {
    pthread_t openers[4], others[3];
    for (int i = 0; i < 2; i++) CHECK(!pthread_create(&others[i], 0, starts_threads, 0));
    CHECK(!pthread_create(&others[2], 0, looks_around, 0));
    for (int i = 0; i < 4; i++) CHECK(!pthread_create(&openers[i], 0, opener, (void *)(uintptr_t)(i + 1)));
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        if (!child) {
            forked = 1;
            alarm(60);
            opener((void *)(uintptr_t)(i + 100));
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    for (int i = 0; i < 4; i++) CHECK(!pthread_join(openers[i], 0));
    stop = 1;
    for (int i = 0; i < 3; i++) CHECK(!pthread_join(others[i], 0));
}

/* --- libraries inside of another file */

static int archive;
static off_t starts[2], sizes[2];

static int find(const char *path, struct loader_part *part) {
    const char *const names[] = { "/archive/order_a.so", "/archive/lib/order_b.so" };
    for (int i = 0; i < 2; i++)
        if (!strcmp(path, names[i])) {
            *part = (struct loader_part){ .fd = archive, .keep = 1, .start = starts[i], .size = sizes[i] };
            return 1;
        }
    return 0;
}

static void append(const char *name, int i) {
    char buffer[65536];
    off_t end = lseek(archive, 0, SEEK_END);
    starts[i] = (end + 65535) / 65536 * 65536;
    int from = open(path_of(name), O_RDONLY);
    CHECK(from >= 0);
    ssize_t n;
    for (off_t at = starts[i]; (n = read(from, buffer, sizeof buffer)) > 0; at += n, sizes[i] += n)
        CHECK(pwrite(archive, buffer, n, at) == n);
    close(from);
}

static void part(void) {
    char name[] = "/tmp/archiveXXXXXX";
    CHECK((archive = mkstemp(name)) >= 0);
    CHECK(write(archive, "other things", 12) == 12);
    append("part_a.so", 0); /* needs order_b.so, which its RUNPATH says is in $ORIGIN/lib */
    append("part_b.so", 1);
    CHECK(pwrite(archive, "the end", 7, lseek(archive, 0, SEEK_END)) == 7);
    loader_find = find;
    const off_t bad_starts[] = { starts[0] + 1, starts[0] - 65536, starts[1] + 65536 * 16, -65536 };
    off_t start = starts[0], size = sizes[0];
    for (size_t i = 0; i < sizeof bad_starts / sizeof *bad_starts; i++) {
        starts[0] = bad_starts[i];
        CHECK(!dlopen("/archive/order_a.so", RTLD_NOW) && strstr(dlerror(), "order_a.so"));
    }
    starts[0] = start;
    sizes[0] = size / 4;
    CHECK(!dlopen("/archive/order_a.so", RTLD_NOW) && strstr(dlerror(), "truncated"));
    sizes[0] = size;
    void *handle = dlopen("/archive/order_a.so", RTLD_NOW);
    if (!handle) fprintf(stderr, "%s\n", dlerror());
    CHECK(handle && CALL(handle, "a_value", int) == 11 && dlopen("/archive/order_a.so", RTLD_NOW) == handle);
    Dl_info info;
    CHECK(dladdr(symbol(handle, "b_value"), &info) && !strcmp(info.dli_fname, "/archive/lib/order_b.so"));
    CHECK(fcntl(archive, F_GETFD) >= 0);
    CHECK(!dlopen("/archive/unknown.so", RTLD_NOW) && strstr(dlerror(), "unknown.so"));
    unlink(name);
}

/* --- failures */

/* All that is mapped. (The number in statm would be an emulator's, with its own memory.) */
static size_t memory(void) {
    size_t sum = 0;
    char line[4096];
    unsigned long long start, end;
    FILE *file = fopen("/proc/self/maps", "r");
    CHECK(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%llx-%llx ", &start, &end) == 2) sum += end - start;
    fclose(file);
    CHECK(sum);
    return sum;
}

static void failures(void) {
    static const char *const names[] = {
        "tls_initial_exec.so", "missing_library.so", "no_such_file.so", "glibc.so", "truncated.so", "missing_tls.so", "text.so",
    };
    size_t kinds = sizeof names / sizeof *names, before = 0;
    int rounds = atoi(getenv("ROUNDS"));
    for (int i = 0; i < rounds; i++) {
        CHECK(!dlopen(path_of(names[i % kinds]), i / kinds % 2 ? RTLD_LAZY : RTLD_NOW));
        if (i / kinds % 2 == 0) dlerror();
        if (i == rounds / 10) before = memory();
    }
    printf("%zu bytes more\n", memory() - before);
    CHECK(memory() <= before + 65536);
    int files = 0;
    for (int i = 0; i < 200; i++) files += fcntl(i, F_GETFD) >= 0;
    CHECK(files < 10);
    CHECK(CALL(load("tls.so", RTLD_NOW), "count", int, 1) == 101);
}

static void try_to_load(void) {
    for (char *name = strtok(getenv("NAMES"), ":"); name; name = strtok(0, ":")) {
        void *handle = dlopen(strchr(name, '/') || getenv("BY_NAME") ? name : path_of(name), RTLD_NOW);
        puts(handle ? "loaded" : dlerror());
    }
}

static void refusal(void) {
    void *base = load("base.so", RTLD_NOW);
    loader_refusal = "the reason";
    CHECK(!dlopen(path_of("tls.so"), RTLD_NOW) && strstr(dlerror(), "tls.so: the reason"));
    CHECK(!dlopen(path_of("base.so"), RTLD_NOW) && !dlopen("base.so", RTLD_NOW));
    CHECK(dlopen(0, RTLD_NOW) == dlopen("libc.so", RTLD_NOW) && CALL(base, "answer", int) == 42);
}

static void exceptions(void) {
    void *catcher = load("catch.so", RTLD_NOW), *thrower = load("throw.so", RTLD_NOW);
    CHECK(CALL(catcher, "catch_problem", int, 5) == 5);
    CHECK(CALL(catcher, "catch_from", int, symbol(thrower, "throw_problem"), 6) == 6);
    CHECK(CALL(thrower, "guards_destroyed", int) == 2);
}

/* --- damaged files */

static uint64_t state;

static uint32_t chance(uint32_t n) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (state >> 16) % n;
}

/* The loader must not crash; what a library's own code does, once it is called, is another matter. */
static void crashed(int number, siginfo_t *info, void *context) {
    extern char __ehdr_start[], etext[];
    _exit(number == SIGALRM ? 98 : 99);
}

static int crashes;

static void fuzz(void) {
    const char *name = getenv("NAMES"), *saved = getenv("SAVE");
    int rounds = atoi(getenv("ROUNDS")), loaded = 0, only = getenv("ONLY") ? atoi(getenv("ONLY")) : -1;
    struct stat st;
    int from = open(path_of(name), O_RDONLY);
    CHECK(from >= 0 && !fstat(from, &st));
    size_t size = st.st_size;
    unsigned char *good = mmap(0, size, PROT_READ, MAP_PRIVATE, from, 0), *bad = malloc(size);
    const ElfW(Ehdr) *header = (void *)good;
    const ElfW(Shdr) *sections = (void *)(good + header->e_shoff);
    for (int i = 0; i < rounds; i++) {
        state = 0x9e3779b97f4a7c15 * (i + 1);
        memcpy(bad, good, size);
        size_t length = size;
        for (int n = 1 + chance(3); n; n--) {
            /* The header, the program headers, or a section that is not code. */
            size_t start = 0, extent = sizeof *header + header->e_phnum * sizeof(ElfW(Phdr));
            if (chance(3)) {
                const ElfW(Shdr) *section;
                do section = sections + chance(header->e_shnum);
                while (!(section->sh_flags & SHF_ALLOC) || section->sh_flags & SHF_EXECINSTR || section->sh_type == SHT_NOBITS
                       || !section->sh_size);
                start = section->sh_offset, extent = section->sh_size;
            }
            unsigned char *at = bad + start + chance(extent);
            switch (chance(8)) {
            case 0: *at ^= 1 << chance(8); break;
            case 1: *at = chance(256); break;
            case 2: *at = chance(2) ? 0 : 255; break;
            case 3: length = chance(16) ? length : chance(size); break;
            default: { /* a whole number */
                at = bad + start + chance(extent) / sizeof(size_t) * sizeof(size_t);
                static const size_t values[] = { 0, 1, 8, 4096, -1, -8, -4096, 0x7fffffff, (size_t)1 << (sizeof(size_t) * 8 - 1), 0x10000 };
                size_t value = chance(3) ? values[chance(10)] : chance(2) ? chance(size) : ((size_t *)good)[chance(size / sizeof(size_t))];
                if (chance(4) == 0) value += *(size_t *)at;
                if (at + sizeof value <= bad + size) memcpy(at, &value, chance(2) ? sizeof value : 4);
            }
            }
        }
        if (only >= 0 && i != only) continue;
        int file = memfd_create("library", 0);
        char path[64];
        CHECK(file >= 0 && write(file, bad, length) == (ssize_t)length);
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
        if (only >= 0 && saved) {
            int copy = open(saved, O_WRONLY | O_CREAT | O_TRUNC, 0644);
            CHECK(copy >= 0 && write(copy, bad, length) == (ssize_t)length);
            close(copy);
        }
        fflush(stdout);
        pid_t child = fork();
        if (!child) {
            static char stack[65536];
            struct rlimit none = { 0, 0 };
            setrlimit(RLIMIT_CORE, &none);
            sigaltstack(&(stack_t){ .ss_sp = stack, .ss_size = sizeof stack }, 0);
            if (only < 0) for (int s = 0; s < 6; s++)
                sigaction((int[]){ SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGALRM }[s],
                          &(struct sigaction){ .sa_sigaction = crashed, .sa_flags = SA_SIGINFO | SA_ONSTACK }, 0);
            alarm(30);
            void *handle = dlopen(path, chance(2) ? RTLD_NOW : RTLD_LAZY);
            if (!handle) {
                char *why = dlerror();
                if (only >= 0) puts(why);
                _exit(why && *why ? 0 : 97);
            }
            Dl_info info;
            struct seen seen = { 0 };
            dlsym(handle, "number");
            dlsym(handle, "no_such_name");
            dlsym(handle, "thread_local_number");
            struct link_map *map = handle;
            for (int n = 0; n < 200; n++) dladdr((char *)map->l_addr + chance(20000), &info);
            dl_iterate_phdr(look, &seen);
            exit(3);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        close(file);
        if (status == 3 << 8) loaded++;
        else if (status) {
            printf("round %d: status 0x%x\n", i, status);
            crashes++;
        }
    }
    printf("%d of %d loaded\n", loaded, rounds);
    CHECK(!crashes);
}

int main(int argc, char **argv) {
    static const struct { const char *name; void (*run)(void); } all[] = {
        { "symbols", symbols }, { "headers", headers }, { "order", order }, { "tls", tls },
        { "tls_descriptors", tls_descriptors }, { "relocations", relocations }, { "relro", relro }, { "lazy", lazy },
        { "threads", threads }, { "part", part }, { "failures", failures }, { "try", try_to_load },
        { "exceptions", exceptions }, { "refusal", refusal }, { "fuzz", fuzz },
    };
    if (argc == 3)
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            if (!strcmp(all[i].name, argv[1])) {
                directory = argv[2];
                all[i].run();
                return 0;
            }
    fprintf(stderr, "usage: %s TEST DIRECTORY\n", argv[0]);
    return 2;
}
