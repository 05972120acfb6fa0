make libbz2.a CC="$CC" AR="$AR" RANLIB="$RANLIB" CFLAGS="$CFLAGS"
mkdir "$out/include" "$out/lib"
cp bzlib.h "$out/include/"
cp libbz2.a "$out/lib/"
install -D -m 644 -t "$out/share/licenses/bzip2" LICENSE
