# The dozen files of a target, named by the file that libffi's own configure script reads; the source tree is one from
# before autoconf has made that script. The variables are what the file asks for.
# shellcheck disable=SC2034
host=$(sh ./config.sub "$triple")
# shellcheck disable=SC2034
ac_cv_sizeof_size_t=$((BITS / 8)) HAVE_LONG_DOUBLE='' HAVE_LONG_DOUBLE_VARIANT=0 MSVC='' TARGET_X32=''
# shellcheck disable=SC1091
. ./configure.host
: "${HAVE_LONG_DOUBLE:=$([ "$LONG_DOUBLE" = binary64 ] && echo "$HAVE_LONG_DOUBLE_VARIANT" || echo 1)}"

# Closures are jumps to code that is in the program already: no memory is both writable and executable.
cat >fficonfig.h <<EOF
#define EH_FRAME_FLAGS "a"
#define FFI_EXEC_STATIC_TRAMP 1
#define HAVE_ALLOCA_H 1
#define HAVE_AS_CFI_PSEUDO_OP 1
#define HAVE_AS_S390_ZARCH 1
#define HAVE_AS_X86_PCREL 1
#define HAVE_HIDDEN_VISIBILITY_ATTRIBUTE 1
#define HAVE_LONG_DOUBLE ($HAVE_LONG_DOUBLE)
#define HAVE_MEMCPY 1
#define HAVE_MEMFD_CREATE 1
#define HAVE_RO_EH_FRAME 1
#ifdef __x86_64__
#define HAVE_AS_X86_64_UNWIND_SECTION_TYPE 1
#endif
#ifdef __SIZEOF_INT128__
#define HAVE_INT128 1
#endif
$([ "$HAVE_LONG_DOUBLE_VARIANT" = 0 ] || echo '#define HAVE_LONG_DOUBLE_VARIANT 1')
#ifdef LIBFFI_ASM
#define FFI_HIDDEN(name) .hidden name
#else
#define FFI_HIDDEN __attribute__((visibility("hidden")))
#endif
EOF
number=$(echo "$version" | awk -F. '{ print $1 * 10000 + $2 * 100 + $3 }')
sed -e "s/@VERSION@/$version/; s/@TARGET@/$TARGET/; s/@HAVE_LONG_DOUBLE@/$HAVE_LONG_DOUBLE/" \
    -e "s/@FFI_VERSION_STRING@/$version/; s/@FFI_VERSION_NUMBER@/$number/; s/@FFI_EXEC_TRAMPOLINE_TABLE@/0/" \
    include/ffi.h.in >include/ffi.h

for file in prep_cif.c types.c raw_api.c java_raw_api.c closures.c tramp.c; do
    echo "src/$file"
done >files
for file in $SOURCES; do
    echo "src/$TARGETDIR/$file"
done >>files
cat >compile <<'EOF'
object=$(echo "${1%.*}" | tr / -).o
exec "$CC" $CFLAGS -w -Wno-implicit-function-declaration -D_GNU_SOURCE -I. -Iinclude -Isrc -I"src/$TARGETDIR" -c "$1" -o "$object"
EOF
export TARGETDIR
xargs -P "$JOBS" -n 1 sh -eu ./compile <files

mkdir -p "$out/include" "$out/lib/pkgconfig"
cp include/ffi.h "src/$TARGETDIR/ffitarget.h" "$out/include/"
"$AR" rcs "$out/lib/libffi.a" src-*.o
cat >"$out/lib/pkgconfig/libffi.pc" <<EOF
Name: libffi
Description: Calls functions whose types are known at run time only
Version: $version
Cflags: -I$out/include
Libs: -L$out/lib -lffi
EOF
install -D -m 644 -t "$out/share/licenses/libffi" LICENSE
