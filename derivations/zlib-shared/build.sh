# The C library is the one of the program that loads it, so none is linked.
for source in adler32 compress crc32 deflate gzclose gzlib gzread gzwrite infback inffast inflate inftrees trees uncompr zutil; do
    # shellcheck disable=SC2086
    $CC $CFLAGS -c "$source.c" -o "$source.o"
done
# Functions of the compiler's runtime divide what the processor cannot: numbers of 64 bits, or on some ARM any.
runtime=
[ "$BITS" = 64 ] || runtime="$("$CC" -print-libgcc-file-name) --exclude-libs=ALL --gc-sections"
mkdir -p "$out/lib"
# shellcheck disable=SC2086
$LD -shared --hash-style=gnu -z relro -z now -s -soname libz.so.1 --version-script zlib.map -o "$out/lib/libz.so.1" ./*.o $runtime
install -D -m 644 -t "$out/share/licenses/zlib-shared" LICENSE
