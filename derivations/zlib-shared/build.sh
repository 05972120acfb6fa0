# The C library is the one of the program that loads it, so none is linked. Nor is the compiler's runtime, which divides 64-bit
# numbers where registers have 32 bits: zlib can do without.
[ "$BITS" = 64 ] || CFLAGS="$CFLAGS -DNO_DIVIDE"
for source in adler32 compress crc32 deflate gzclose gzlib gzread gzwrite infback inffast inflate inftrees trees uncompr zutil; do
    # shellcheck disable=SC2086
    $CC $CFLAGS -c "$source.c" -o "$source.o"
done
mkdir -p "$out/lib"
$LD -shared --hash-style=gnu -z relro -z now -s -soname libz.so.1 --version-script zlib.map -o "$out/lib/libz.so.1" ./*.o
install -D -m 644 -t "$out/share/licenses/zlib-shared" LICENSE
