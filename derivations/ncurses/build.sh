# Programs look for terminal descriptions in $TERMINFO, ~/.terminfo, $TERMINFO_DIRS and where systems keep them, and know
# the common ones without any file: by the names that terminals give themselves in $TERM.
places=/etc/terminfo:/lib/terminfo:/usr/share/terminfo:/usr/lib/terminfo:/usr/local/share/terminfo
terminals=Eterm,Eterm-256color,alacritty,alacritty-direct,ansi,bterm,cons25,contour,cygwin,domterm,dtterm,dumb,\
dvtm,dvtm-256color,eterm-color,foot,foot-direct,ghostty,gnome,gnome-256color,hurd,iterm2,kitty,kitty-direct,konsole,\
konsole-256color,konsole-direct,linux,linux-16color,mintty,mintty-direct,mlterm,mlterm-256color,ms-terminal,nsterm,pcansi,\
putty,putty-256color,rio,rxvt,rxvt-256color,screen,screen-16color,screen-256color,screen-256color-bce,screen-bce,\
screen.linux,screen.xterm-256color,st,st-256color,st-direct,sun,terminator,terminology,tmux,tmux-256color,tmux-direct,vscode,\
vscode-direct,vt100,vt102,vt220,vt320,vt420,vt52,vte,vte-256color,vte-direct,vwmterm,wezterm,wsvt25,xfce,xterm,\
xterm-16color,xterm-256color,xterm-88color,xterm-color,xterm-direct,xterm-mono,xterm-new
# Names in use for what this release knows by another one.
sed -i -e 's/^kitty|/&xterm-kitty|/' -e 's/^ghostty|/&xterm-ghostty|/' -e 's/^foot|/&foot-extra|/' \
    -e 's/^rxvt-256color|/&rxvt-unicode|rxvt-unicode-256color|/' misc/terminfo.src

# Configure would choose flags that keep times and owners in archives.
export cf_cv_ar_flags=-crD
./configure --build="$build_triple" --host="$triple" --with-build-cc="$CC_FOR_BUILD" --prefix="$out" --datadir=/usr/share \
    --enable-widec --enable-overwrite --enable-ext-colors --enable-pc-files --with-pkg-config-libdir="$out/lib/pkgconfig" \
    --without-cxx --without-cxx-binding --without-ada --without-debug --without-manpages --without-tests --without-progs \
    --without-shared --without-gpm --disable-db-install --disable-stripping \
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
install -D -m 644 -t "$out/share/licenses/ncurses" COPYING
