# Scripts that run zig's clang with the target's sysroot, and answers that spare configure its questions.
zig=$zig/ziglang/zig
mkdir -p "$out/bin" "$out/share"
cd "$out/bin"

script() {
    { echo '#!/bin/sh'; cat; } >"$1"
    chmod 755 "$1"
}

# Programs are static and stand at a fixed address (the fastest code), and their main thread is promised 8 MiB of
# stack. No path of the build enters an output: /build is called "." in __FILE__ and debug information.
compiler="exec $zig clang --no-default-config --target=$TARGET $CPU_FLAG $ARCH_FLAGS --sysroot=$sysroot \
-resource-dir $sysroot/usr/lib/clang --start-no-unused-arguments -fno-pie -no-pie -static -rtlib=compiler-rt \
--unwindlib=none --ld-path=$out/bin/ld -Wl,-z,stack-size=0x800000 -Wl,--build-id=none \
-ffile-prefix-map=/build/source=. -ffile-prefix-map=/build=. --end-no-unused-arguments"
echo "$compiler \"\$@\"" | script cc
echo "$compiler --driver-mode=g++ -nostdlib++ \"\$@\"" | script c++
echo "$compiler -E \"\$@\"" | script cpp
echo "exec $zig ld.lld${LINKER_FLAGS:+ $LINKER_FLAGS} \"\$@\"" | script ld
echo "exec $zig ar \"\$@\"" | script ar
echo "exec $zig ranlib \"\$@\"" | script ranlib

# Nothing is compiled with debug information, and archives hold bitcode: there is nothing to strip. (Programs that are
# to have no symbol table are linked with -Wl,-s.)
echo 'exit 0' | script strip

ln -s cc clang
ln -s c++ clang++
ln -s ld ld.lld
ln -s ar llvm-ar
ln -s ranlib llvm-ranlib
ln -s strip llvm-strip
for tool in cc c++ cpp clang clang++ ld ar ranlib strip; do
    ln -s "$tool" "$triple-$tool"
done

# --- config.site: what configure scripts would find out by hundreds of compiler runs, read from the sysroot itself
answers=$out/share/config.site
answer() { echo "$1=\${$1='$2'}"; }

# Functions: those of the C library. Headers: its own, each of which can be included alone.
functions=$sysroot/usr/share/libc.functions
(cd "$sysroot/usr/include" && find . -maxdepth 1 -name '*.h' && find arpa net netinet netpacket sys -name '*.h') |
    sed 's,^\./,,' | sort >/tmp/headers
{
    sed 's/^/func_/; s/$/ yes/' "$functions"
    tr ./+- ____ </tmp/headers | sed 's/^/header_/; s/$/ yes/'
    # Not in this C library, and often asked for.
    for name in __secure_getenv _getpty arc4random arc4random_buf bind_textdomain_codeset chflags close_range \
        closefrom ctermid_r dlvsym explicit_memset fdwalk getattrlist getpwnam_r_np lchflags lchmod mach_absolute_time \
        plock rtpSpawn setproctitle strtonum; do
        grep -qx "$name" "$functions" || echo "func_$name no"
    done
    for name in bluetooth_bluetooth bluetooth CommonCrypto_CommonDigest conio direct io ieeefp libutil minix_config ndir \
        process sys_audioio sys_bsdtty sys_devpoll sys_endian sys_event sys_kern_control sys_lock sys_loadavg sys_memfd \
        sys_mkdev sys_modem sys_ndir sys_pidfd sys_sys_domain sys_termio util vfork; do
        grep -qx "$(echo "$name" | tr _ /).h" /tmp/headers || echo "header_${name}_h no"
    done
} | while read -r name value; do
    answer "ac_cv_$name" "$value"
done >"$answers"

# Sizes and signs: from the compiler's own macros.
"$out/bin/cc" -dM -E -x c /dev/null >/tmp/macros
macro() { sed -n "s/^#define $1 //p" /tmp/macros; }
while read -r name macro; do
    answer "ac_cv_sizeof_$name" "$(macro "__SIZEOF_${macro}__")"
done >>"$answers" <<EOF
short SHORT
int INT
long LONG
long_long LONG_LONG
float FLOAT
double DOUBLE
long_double LONG_DOUBLE
size_t SIZE_T
ssize_t SIZE_T
ptrdiff_t PTRDIFF_T
void_p POINTER
uintptr_t POINTER
pthread_t POINTER
wchar_t WCHAR_T
wint_t WINT_T
pid_t INT
pthread_key_t INT
off_t LONG_LONG
time_t LONG_LONG
EOF
big=no unsigned=no
[ "$(macro __BYTE_ORDER__)" = __ORDER_LITTLE_ENDIAN__ ] || big=yes
[ -z "$(macro __WCHAR_UNSIGNED__)" ] || unsigned=yes

# What a cross build cannot run, and what holds for this C library and compiler on every machine.
while read -r name value; do
    answer "$name" "$value"
done >>"$answers" <<EOF
ac_cv_c_bigendian $big
ac_cv_wchar_t_signed $([ "$unsigned" = yes ] && echo no || echo yes)
ac_cv_aligned_required no
ac_cv_broken_mbstowcs no
ac_cv_broken_nice no
ac_cv_broken_poll no
ac_cv_broken_sem_getvalue no
ac_cv_buggy_getaddrinfo no
ac_cv_c_compiler_gnu yes
ac_cv_c_const yes
ac_cv_c_inline inline
ac_cv_c_volatile yes
ac_cv_computed_gotos yes
ac_cv_file__dev_ptc no
ac_cv_file__dev_ptmx yes
ac_cv_func_alloca_works yes
ac_cv_func_calloc_0_nonnull yes
ac_cv_func_chown_works yes
ac_cv_func_closedir_void no
ac_cv_func_fork_works yes
ac_cv_func_getgroups_works yes
ac_cv_func_lstat_dereferences_slashed_symlink yes
ac_cv_func_malloc_0_nonnull yes
ac_cv_func_memcmp_working yes
ac_cv_func_mmap_fixed_mapped yes
ac_cv_func_realloc_0_nonnull yes
ac_cv_func_stat_empty_string_bug no
ac_cv_func_strerror_r_char_p no
ac_cv_func_vfork_works yes
ac_cv_header_stdc yes
ac_cv_header_time yes
ac_cv_little_endian_double $([ "$big" = yes ] && echo no || echo yes)
ac_cv_objext o
ac_cv_posix_semaphores_enabled yes
ac_cv_prog_cc_g yes
ac_cv_pthread yes
ac_cv_pthread_is_default yes
ac_cv_pthread_system_supported yes
ac_cv_rshift_extends_sign yes
ac_cv_search_strerror none required
ac_cv_sizeof__Bool 1
ac_cv_sys_file_offset_bits no
ac_cv_sys_large_files no
ac_cv_sys_largefile_CC no
ac_cv_type_mode_t yes
ac_cv_type_off_t yes
ac_cv_type_pid_t yes
ac_cv_type_size_t yes
ac_cv_type_ssize_t yes
ac_cv_type_uid_t yes
ac_cv_working_alloca_h yes
ac_cv_working_tzset yes
cf_cv_func_nanosleep yes
cf_cv_link_dataonly yes
cf_cv_working_poll yes
lt_cv_sys_max_cmd_len 131072
EOF
