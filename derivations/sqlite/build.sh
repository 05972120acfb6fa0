# This source tree is joined to one file by Tcl scripts, for which it brings a small Tcl. DELETE and UPDATE with LIMIT are
# a matter of the grammar: the option counts when the parser is generated, too.
mkdir -p "$out/include" "$out/lib/pkgconfig"
: >sqlite_cfg.h # what its configure script would find out stands in the options below
make -j1 -f main.mk TOP=. PACKAGE_VERSION="$version" B.cc="$CC_FOR_BUILD -O1 -w" T.cc="$CC_FOR_BUILD" \
    OPTS=-DSQLITE_ENABLE_UPDATE_DELETE_LIMIT sqlite3.c

options=
for name in ENABLE_BYTECODE_VTAB ENABLE_COLUMN_METADATA ENABLE_DBPAGE_VTAB ENABLE_DBSTAT_VTAB ENABLE_FTS3 \
    ENABLE_FTS3_PARENTHESIS ENABLE_FTS4 ENABLE_FTS5 ENABLE_GEOPOLY ENABLE_MATH_FUNCTIONS \
    ENABLE_OFFSET_SQL_FUNC ENABLE_PREUPDATE_HOOK ENABLE_RTREE ENABLE_SESSION ENABLE_STAT4 ENABLE_STMTVTAB \
    ENABLE_UNLOCK_NOTIFY ENABLE_UPDATE_DELETE_LIMIT OMIT_LOAD_EXTENSION SOUNDEX THREADSAFE=1 USE_URI \
    MAX_VARIABLE_NUMBER=250000; do
    options="$options -DSQLITE_$name"
done
for name in FDATASYNC GMTIME_R INTTYPES_H ISNAN LOCALTIME_R MALLOC_H MALLOC_USABLE_SIZE PREAD \
    PWRITE STDINT_H STRCHRNUL STRERROR_R USLEEP UTIME; do
    options="$options -DHAVE_$name=1"
done
# shellcheck disable=SC2086
"$CC" $CFLAGS -D_GNU_SOURCE $options -w -c sqlite3.c
cp sqlite3.h sqlite3ext.h "$out/include/"
"$AR" rcs "$out/lib/libsqlite3.a" sqlite3.o
cat >"$out/lib/pkgconfig/sqlite3.pc" <<EOF
Name: SQLite
Description: SQL database engine
Version: $version
Cflags: -I$out/include
Libs: -L$out/lib -lsqlite3
Libs.private: -lm
EOF
install -D -m 644 -t "$out/share/licenses/sqlite" LICENSE.md
