# Certificates are looked for in /etc/ssl. Without -static in the flags, which would make Configure turn threads off.
unset CPP CPPFLAGS LDFLAGS
# A date of the manual, for which Configure wants a compiled perl module.
sed -i '/use Time::Piece/d; /^RELEASE_DATE={-/,/-}/c\RELEASE_DATE=' Configurations/unix-Makefile.tmpl
PERL=perl perl Configure "$OPENSSL_TARGET" --prefix="$out" --libdir=lib --openssldir=/etc/ssl threads no-shared no-dso \
    no-tests no-docs no-apps no-makedepend no-pic enable-ktls -O3 -flto
# Where loadable engines would lie is compiled in: not where this is installed.
make build_libs ENGINESDIR=/usr/lib/engines-3 MODULESDIR=/usr/lib/ossl-modules
make install_dev
rm -r "$out/lib/cmake"
