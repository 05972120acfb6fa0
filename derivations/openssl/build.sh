# Certificates are looked for in /etc/ssl. Without -static in the flags, which would make Configure turn threads off;
# without the parts that no module of the standard library can reach.
unset CPP CPPFLAGS LDFLAGS
PERL=perl perl Configure "$OPENSSL_TARGET" --prefix="$out" --libdir=lib --openssldir=/etc/ssl threads no-shared no-dso \
    no-tests no-docs no-apps no-makedepend no-pic enable-ktls no-cmp no-cms no-engine no-quic no-srp no-ts -O3 "$LTO"
# Where loadable engines would lie is compiled in: not where this is installed.
make build_libs ENGINESDIR=/usr/lib/engines-3 MODULESDIR=/usr/lib/ossl-modules
make install_dev
rm -r "$out/lib/cmake"
install -D -m 644 -t "$out/share/licenses/openssl" LICENSE.txt
