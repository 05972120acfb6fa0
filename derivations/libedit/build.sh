./configure --build="$build_triple" --host="$triple" --prefix="$out" --disable-dependency-tracking --disable-shared \
    --disable-examples
make -C src install
make install-pkgconfigDATA
rm -f "$out"/lib/*.la
install -D -m 644 -t "$out/share/licenses/libedit" COPYING
