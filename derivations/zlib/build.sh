./configure --static --prefix="$out"
make libz.a
make install
