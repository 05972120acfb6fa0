short=${version%.*}
python=$build_python/bin/python3
lib=$out/lib/python$short

# The prefix is only a placeholder: the interpreter looks for its library relative to itself. All modules are built in.
# Configure links with the libraries' bitcode, which needs no optimization there.
export CONFIG_SITE="$CONFIG_SITE $build_python/share/config.site" PKG_CONFIG=no
unset PKG_CONFIG_LIBDIR
# What configure would find out by running a program that calls libffi.
if echo '#include <ffi.h>' | "$CC" "-I$libffi/include" -E -dM - | grep -q FFI_TARGET_HAS_COMPLEX_TYPE; then
    export ac_cv_ffi_complex_double_supported=yes
fi
# With the loader among its inputs, it loads shared libraries; without it, it is sealed.
dynload=dynload_stub.o pic=' ' loading=
if [ "${loader:-}" ]; then
    dynload=dynload_shlib.o pic=-fPIC
    # The tests of ctypes call functions of one of their modules.
    if [ "${TEST_MODULES:-disable}" = enable ]; then
        tr '\n' ' ' <Modules/_ctypes/_ctypes_test.c | sed -e 's/EXPORT *(/\n&/g' -e 's/__stdcall//g' |
            sed -n -e 's/^EXPORT *([a-z]* \([a-z]*\) = .*/\1/p' -e 's/^EXPORT *([^)]*)[ *]*\([A-Za-z0-9_]*\).*/\1/p'
    fi >/build/exports
    printf '%s\n' 'Py*' '_Py*' >>/build/exports
    { echo '{'; sed 's/$/;/' /build/exports; echo '};'; } >/build/python.list
    # shellcheck disable=SC2016 # for make and for the linker
    loading="@$loader/lib/loader.options -Wl,--dynamic-list=/build/python.list -Wl,-rpath,'\$\$ORIGIN/../lib'"
fi
./configure --build=x86_64-build-linux-musl --host="$triple" --prefix=/PREFIX --with-build-python="$python" \
    --enable-ipv6 "--${TEST_MODULES:-disable}-test-modules" --without-static-libpython --without-ensurepip --with-computed-gotos \
    --with-readline=editline --with-openssl="$openssl" --with-dbmliborder= --without-system-libmpdec \
    MODULE_BUILDTYPE=static DYNLOADFILE=$dynload OPT=-O3 CCSHARED="$pic" LINKFORSHARED=' ' \
    LDFLAGS="$LDFLAGS -Wl,--lto-O0" \
    ZLIB_CFLAGS=' ' ZLIB_LIBS=-lz BZIP2_CFLAGS=' ' BZIP2_LIBS=-lbz2 LIBLZMA_CFLAGS=' ' LIBLZMA_LIBS=-llzma \
    LIBZSTD_CFLAGS=' ' LIBZSTD_LIBS=-lzstd \
    LIBFFI_CFLAGS=' ' LIBFFI_LIBS=-lffi LIBUUID_CFLAGS="-I$libuuid/include/uuid" LIBUUID_LIBS=-luuid \
    LIBSQLITE3_CFLAGS=' ' LIBSQLITE3_LIBS=-lsqlite3 LIBEDIT_CFLAGS=' ' LIBEDIT_LIBS='-ledit -lncursesw' \
    CURSES_CFLAGS="-I$ncurses/include/ncursesw" CURSES_LIBS=-lncursesw \
    PANEL_CFLAGS="-I$ncurses/include/ncursesw" PANEL_LIBS='-lpanelw -lncursesw'

# No path of the build in what describes the build.
neutral() {
    sed -i -E -e "s# *-[IL]/hermetic/[^ \"']*##g" -e "s#/hermetic/[^ \"']*/##g" -e 's#/build/source#.#g' \
        -e 's# *-Wl,--lto-O0##g' -e 's#\bllvm-(ar|ranlib)\b#\1#g' "$@"
}

# Flags that only serve this build are given to make, so that sysconfig does not tell them.
make pybuilddir.txt
make EXTRA_CFLAGS="$LTO" "libpython$short.a"

# The library is compiled while one core links. Left out: what needs Tcl/Tk, and, unless they are wanted, the tests.
mkdir -p "$lib/lib-dynload" "$out/bin"
cp -R Lib/. LICENSE "$(cat pybuilddir.txt)"/_sysconfigdata_*.py /build/certifi/certifi/cacert.pem "$lib/"
neutral "$lib"/_sysconfigdata_*.py
(cd "$lib" && rm -r idlelib tkinter turtledemo turtle.py __phello__)
[ "${TEST_MODULES:-disable}" = enable ] || rm -r "$lib/test"
cp -R /build/tzdata/tzdata/zoneinfo "$lib/zoneinfo/data"
find "$lib/zoneinfo/data" -name __init__.py -exec rm {} +
cat >"$lib/lib-dynload/README.txt" <<'EOF'
All modules of the library are built in. Those that other Pythons have as shared objects are found at this
place of sys.path, and the interpreter knows its installation by this directory.
EOF
cat >"$lib/EXTERNALLY-MANAGED" <<'EOF'
[externally-managed]
Error=This Python stays as it was built: what is installed into it would be there for every program that uses it.
 Install into a virtual environment:
 .
     python3 -m venv DIRECTORY
     DIRECTORY/bin/python -m pip install PACKAGE
 .
 To have packages in a copy of this Python that is yours alone, delete the file EXTERNALLY-MANAGED from its library.
EOF
"$python" -m compileall -q -f -x 'bad_coding|badsyntax' --invalidation-mode unchecked-hash -s "$out" "$lib" &

# Linking the program for tests of embedding would take as long as linking the interpreter: make takes it for made (-o).
make -o Programs/_testembed EXTRA_CFLAGS="$LTO" PY_CORE_LDFLAGS="$LTO -O3 $LDFLAGS" \
    LINKFORSHARED="-Wl,--strip-all -Wl,-Map=python.map $mimalloc/lib/malloc.o $loading" all
wait $!
if grep -E 'libc\.a\(malloc-mallocng' python.map; then
    echo "the C library's own malloc is in use" >&2
    exit 1
fi

make -o Programs/_testembed DESTDIR=/build/image inclinstall libainstall maninstall
cp -R /build/image/PREFIX/. "$out/"
# From 3.14 on (PEP 739). It has the paths of the Python that wrote it; they may be relative.
details=$(cat pybuilddir.txt)/build-details.json
if [ -f "$details" ]; then
    sed -e "s#\"$build_python\"#\"../..\"#" -e "s#\"$build_python/#\"./#" "$details" >"$lib/build-details.json"
fi
cp python "$out/bin/python$short"
# What extension modules can link against is checked and listed: the whole stable ABI is among it.
if [ "${loader:-}" ]; then
    cp "$zlib_shared/lib/libz.so.1" "$out/lib/" # wheels expect it of the system
    exports=$(echo "$lib"/config-*)/exports.txt
    set -f
    # shellcheck disable=SC2046 # one argument for each pattern
    "$python" "$loader/share/loader/finish.py" "$out/bin/python$short" "$loader/lib/libc.list" $(cat /build/exports) >"$exports"
    set +f
    "$python" - Misc/stable_abi.toml "$exports" <<'EOF'
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    abi = tomllib.load(file)
with open(sys.argv[2]) as file:
    exported = set(file.read().split())
wanted = {name for kind in ("function", "data") for name, entry in abi[kind].items() if "ifdef" not in entry}
if missing := sorted(wanted - exported):
    sys.exit("of the stable ABI, these are not exported: " + " ".join(missing))
EOF
else
    # Nothing is compiled in vain: packages that have a way without C take it, and others say why they cannot be installed.
    sed -i '1i #error "This Python is sealed: it loads no extension modules. Take a package in pure Python, or an unsealed Python."' \
        "$out/include/python$short/Python.h"
fi
# The licences of all that is in the program, and in its library.
install -D -m 644 -t "$lib/licenses/python" LICENSE Doc/license.rst
install -D -m 644 -t "$lib/licenses/certifi" /build/certifi/certifi-*.dist-info/licenses/LICENSE
install -D -m 644 -t "$lib/licenses/tzdata" /build/tzdata/tzdata-*.dist-info/licenses/LICENSE \
    /build/tzdata/tzdata-*.dist-info/licenses/licenses/LICENSE_APACHE
for licenses in "${zlib%/*}"/*/share/licenses; do
    cp -R "$licenses/." "$lib/licenses/"
done
cd "$out/bin"
rm "idle$short" "$lib"/config-*/python-config.py
for link in python3 python; do ln -s "python$short" $link; done
ln -s "python$short-config" python3-config
ln -s "pydoc$short" pydoc3
# Found through its own place, wherever that is.
sed -i "1c #!/bin/sh\n'''exec' \"\$(dirname -- \"\$(readlink -f -- \"\$0\")\")/python$short\" \"\$0\" \"\$@\"\n' '''" "pydoc$short"
cd ../lib/pkgconfig
for kind in '' -embed; do ln -s "python-$short$kind.pc" "python3$kind.pc"; done
neutral "$lib"/config-*/* "$out/bin/python$short-config" ./*.pc
if grep -rlE '/hermetic/|/build/source' "$out"; then
    echo "paths of the build in the files above" >&2
    exit 1
fi
