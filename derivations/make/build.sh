# Built by its own script, for want of a make. This tarball comes without its manual.
mkdir -p doc
: >doc/Makefile.in
./configure --prefix="$out" --disable-dependency-tracking --disable-nls --without-guile --disable-load CFLAGS=-O2
sh ./build.sh
mkdir "$out/bin"
cp make "$out/bin/make"
