# No -static in the flags: with it, Configure would turn threads off. Certificates are looked for in /etc/ssl.
unset CPPFLAGS LDFLAGS CPP
perl Configure "$OPENSSL_TARGET" --prefix="$out" --libdir=lib --openssldir=/etc/ssl threads no-shared no-dso no-tests \
    no-docs no-apps no-makedepend no-pic enable-ktls -O3 -flto
make build_libs
make install_dev
rm -rf "$out/lib/cmake"
