# An object that defines dlopen and what goes with it. Linked as an object, not looked up in an archive, it takes the place
# of what musl has for static programs, which says that there is no dynamic loading.
lib=$out/lib
mkdir -p "$lib" "$out/include"
$CC -std=c99 -nostdinc -ffreestanding -frounding-math -ffp-contract=off -fno-strict-aliasing -Wa,--noexecstack \
    -D_XOPEN_SOURCE=700 "-Iarch/$MUSL_ARCH" -Iarch/generic -Isrc/include -Isrc/internal "-I$sysroot/usr/include" \
    -O2 -fno-lto -fomit-frame-pointer -fno-unwind-tables -fno-asynchronous-unwind-tables -fno-stack-protector -fno-ident \
    -w -c ldso/dynlink.c -o "$lib/ldso.o"
cp ldso/loader.h "$out/include/"

# What libraries find of the C library: all that musl exports as a shared library. The linker writes a table of symbols
# into a static program only if a shared library is among its inputs; nothing needs this one.
"$build_python/bin/python3" ldso/exports.py "$sysroot/usr/lib/libc.a" "$lib"
: | $CC -fPIC -x c -c - -o none.o
$LD -shared -soname none -o "$lib/none.so" none.o
cat >"$lib/loader.options" <<EOF
$lib/ldso.o
$lib/libc.ld
-Wl,--dynamic-list=$lib/libc.list
-Wl,-Bdynamic -Wl,--as-needed $lib/none.so -Wl,-Bstatic
EOF
install -D -m 644 -t "$out/share/loader" ldso/finish.py
install -D -m 644 -t "$out/share/licenses/loader" COPYRIGHT
