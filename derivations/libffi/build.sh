./configure --build="$build_triple" --host="$triple" --prefix="$out" --libdir="$out/lib" --disable-dependency-tracking \
    --disable-shared --disable-docs --disable-multi-os-directory --disable-exec-static-tramp
make install
rm "$out"/lib/*.la
