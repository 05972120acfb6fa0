./configure --build="$build_system" --host="$system" --prefix="$out" --disable-dependency-tracking --disable-shared \
    --disable-examples
make -C src install
make install-pkgconfigDATA
rm -f "$out"/lib/*.la
