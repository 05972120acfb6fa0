# Programs look for terminal descriptions where systems keep them, and know the common ones without any file.
places=/etc/terminfo:/lib/terminfo:/usr/share/terminfo:/usr/lib/terminfo:/usr/local/share/terminfo
terminals=alacritty,ansi,cygwin,dumb,foot,gnome-256color,kitty,konsole,konsole-256color,linux,linux-16color,putty,\
putty-256color,rxvt,rxvt-256color,screen,screen-256color,st,st-256color,tmux,tmux-256color,vt100,vt102,vt220,vt320,\
vte-256color,xterm,xterm-256color,xterm-color,xterm-direct

# Configure would choose flags that keep times and owners in archives.
export cf_cv_ar_flags=-crD
./configure --build="$build_triple" --host="$triple" --with-build-cc="$CC_FOR_BUILD" --prefix="$out" --datadir=/usr/share \
    --enable-widec --enable-overwrite --enable-ext-colors --enable-pc-files --with-pkg-config-libdir="$out/lib/pkgconfig" \
    --without-cxx --without-cxx-binding --without-ada --without-debug --without-manpages --without-tests --without-progs \
    --without-shared --without-gpm --disable-db-install --disable-stripping --disable-home-terminfo \
    --with-default-terminfo-dir=/usr/share/terminfo --with-terminfo-dirs="$places" --with-fallbacks="$terminals" \
    --with-tic-path="$tic/bin/tic" --with-infocmp-path="$tic/bin/infocmp"
make libs
make -j1 install.libs install.includes
# Also under the names without the w for wide.
for name in ncurses panel form menu; do
    ln -s "lib${name}w.a" "$out/lib/lib$name.a"
done
ln -s . "$out/include/ncursesw"
rm -r "${out:?}/bin"
