# With threads, which upstream leaves out of the static library. One directory for the objects: its name would be that of
# the flags' hash.
make -C lib BUILD_DIR=obj DEBUGFLAGS= CPPFLAGS_STATICLIB=-DZSTD_MULTITHREAD libzstd.a
make -C lib prefix="$out" install-static install-includes install-pc
install -D -m 644 -t "$out/share/licenses/zstd" LICENSE
