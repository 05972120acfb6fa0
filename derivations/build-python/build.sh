for module in $LEFT_OUT; do
    export "py_cv_module_$module=n/a"
done
./configure --config-cache --prefix="$out" --without-ensurepip --disable-test-modules --without-static-libpython \
    --without-doc-strings --without-mimalloc --with-computed-gotos \
    MODULE_BUILDTYPE=static DYNLOADFILE=dynload_stub.o OPT=-O1 CCSHARED=' ' LINKFORSHARED=' '
make python pybuilddir.txt

lib=$out/lib/python${version%.*}
mkdir -p "$out/bin" "$lib/lib-dynload" "$out/share"
cp python "$out/bin/python${version%.*}"
ln -s "python${version%.*}" "$out/bin/python3"
rm -r Lib/test Lib/idlelib Lib/tkinter Lib/turtledemo Lib/ensurepip/_bundled
cp -R Lib/. "$lib/"
cp "$(cat pybuilddir.txt)"/_sysconfigdata_*.py "$lib/"

# What configure learned about the C library holds for every target: it is the same library. Sizes and libraries do not.
sed -n -E '/^ac_cv_(func|have_decl|header|member|type)_/p' config.cache |
    sed -E '/^ac_cv_header_[a-z_]*(ffi|sqlite|uuid|zlib|bzlib|lzma|openssl|curses|panel|term_h|readline|editline|dbm|db_h)/d' \
        >"$out/share/config.site"
