short=${version%.*}
python=$build_python/bin/python3
lib=$out/lib/python$short

# The prefix is only a placeholder: the interpreter looks for its library relative to itself. Without dynamic loading all
# modules are built in. Configure links with the libraries' bitcode, for which no optimization is needed there.
export CONFIG_SITE="$CONFIG_SITE $build_python/share/config.site" PKG_CONFIG=no
./configure --build=x86_64-build-linux-musl --host="$system" --prefix=/PREFIX --with-build-python="$python" \
    --enable-ipv6 --disable-test-modules --without-static-libpython --without-ensurepip --with-computed-gotos \
    --with-readline=editline --with-openssl="$openssl" --with-dbmliborder= \
    MODULE_BUILDTYPE=static DYNLOADFILE=dynload_stub.o OPT='-DNDEBUG -O3' LINKFORSHARED=' ' \
    LDFLAGS="$LDFLAGS -Wl,--lto-O0" \
    ZLIB_CFLAGS=' ' ZLIB_LIBS=-lz BZIP2_CFLAGS=' ' BZIP2_LIBS=-lbz2 LIBLZMA_CFLAGS=' ' LIBLZMA_LIBS=-llzma \
    LIBFFI_CFLAGS=' ' LIBFFI_LIBS=-lffi LIBUUID_CFLAGS="-I$libuuid/include/uuid" LIBUUID_LIBS=-luuid \
    LIBSQLITE3_CFLAGS=' ' LIBSQLITE3_LIBS=-lsqlite3 LIBEDIT_CFLAGS=' ' LIBEDIT_LIBS='-ledit -lncursesw' \
    CURSES_CFLAGS="-I$ncurses/include/ncursesw" CURSES_LIBS=-lncursesw \
    PANEL_CFLAGS="-I$ncurses/include/ncursesw" PANEL_LIBS='-lpanelw -lncursesw'

make EXTRA_CFLAGS=-flto "libpython$short.a"

# The library is compiled while one core links. Tracebacks take file names from where a module is found, not from here.
mkdir -p "$lib/lib-dynload"
rm -r Lib/test Lib/idlelib Lib/tkinter Lib/turtledemo Lib/turtle.py Lib/__phello__
cp -R Lib/. LICENSE "$lib/"
cp /build/certifi/certifi/cacert.pem "$lib/"
echo 'No shared objects: all modules are built in. The interpreter knows its installation by this folder.' \
    >"$lib/lib-dynload/README.txt"
"$python" -m compileall -q -f --invalidation-mode unchecked-hash -s "$out" "$lib" &

make EXTRA_CFLAGS=-flto PY_CORE_LDFLAGS="-flto -O3 $LDFLAGS" \
    LINKFORSHARED="-Wl,--strip-all -Wl,-Map=python.map $mimalloc/lib/malloc.o" all
wait $!
if grep -E 'libc\.a\((malloc-|src-malloc-mallocng)' python.map; then
    echo "the C library's malloc is in use" >&2
    exit 1
fi
