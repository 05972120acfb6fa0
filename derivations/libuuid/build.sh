# The dozen files of libuuid, without the configure script of all util-linux.
cat >config.h <<EOF
#define _GNU_SOURCE 1
#define HAVE_DECL_CPU_ALLOC 1
#define HAVE_ERR_H 1
#define HAVE_EXPLICIT_BZERO 1
#define HAVE_GETRANDOM 1
#define HAVE_INTTYPES_H 1
#define HAVE_JRAND48 1
#define HAVE_LIBPTHREAD 1
#define HAVE_NANOSLEEP 1
#define HAVE_NETINET_IN_H 1
#define HAVE_NET_IF_H 1
#define HAVE_REALLOCARRAY 1
#define HAVE_SRANDOM 1
#define HAVE_STDLIB_H 1
#define HAVE_SYS_FILE_H 1
#define HAVE_SYS_IOCTL_H 1
#define HAVE_SYS_SOCKET_H 1
#define HAVE_SYS_SYSCALL_H 1
#define HAVE_SYS_TIME_H 1
#define HAVE_SYS_UN_H 1
#define HAVE_TLS 1
#define HAVE_UNISTD_H 1
#define HAVE_USLEEP 1
#define HAVE_PROGRAM_INVOCATION_SHORT_NAME 1
#define _PATH_LOCALSTATEDIR "/var"
#define PACKAGE_STRING "util-linux $version"
EOF
for name in clear compare copy gen_uuid isnull pack parse unpack unparse uuid_time predefined; do
    echo "libuuid/src/$name.c"
done >files
for name in randutils md5 sha1; do
    echo "lib/$name.c"
done >>files
# shellcheck disable=SC2086
xargs -P "$JOBS" -n 4 "$CC" $CFLAGS -include config.h -Iinclude -Ilibuuid/src -c <files
mkdir -p "$out/include/uuid" "$out/lib/pkgconfig"
cp libuuid/src/uuid.h "$out/include/uuid/"
"$AR" rcs "$out/lib/libuuid.a" ./*.o
cat >"$out/lib/pkgconfig/uuid.pc" <<EOF
Name: uuid
Description: Universally unique identifiers
Version: $version
Cflags: -I$out/include -I$out/include/uuid
Libs: -L$out/lib -luuid
EOF
install -D -m 644 -t "$out/share/licenses/libuuid" Documentation/licenses/COPYING.BSD-3-Clause
