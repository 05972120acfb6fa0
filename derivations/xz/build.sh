./configure --build="$build_triple" --host="$triple" --prefix="$out" --disable-dependency-tracking --disable-shared \
    --disable-nls --disable-doc --disable-scripts --disable-xz --disable-xzdec --disable-lzmadec --disable-lzmainfo \
    --disable-rpath --disable-sandbox
make -C src/liblzma install
rm "$out"/lib/*.la
install -D -m 644 -t "$out/share/licenses/xz" COPYING COPYING.0BSD
