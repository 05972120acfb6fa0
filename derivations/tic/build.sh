./configure --prefix="$out" --datadir=/usr/share --without-cxx --without-cxx-binding --without-ada --without-debug \
    --without-manpages --without-tests --without-shared --disable-db-install --enable-widec --enable-ext-colors --disable-home-terminfo \
    --without-gpm CFLAGS=-O1
make -C include
make -C ncurses
make -C progs tic infocmp
mkdir "$out/bin"
cp progs/tic progs/infocmp "$out/bin/"
