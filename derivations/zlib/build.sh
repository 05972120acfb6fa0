# The source is Debian's, without upstream's contrib/, where s390x has its vector CRC.
./configure --static --disable-crcvx --prefix="$out"
make libz.a
make install
install -D -m 644 -t "$out/share/licenses/zlib" LICENSE
