# musl without its makefile (make needs a C library to be built), the compiler runtime, and the kernel's headers.
zig=$zig/ziglang
prefix=$out/usr
mkdir -p "$prefix/lib" "$prefix/include/bits"

# --- headers: the kernel's first, because musl's own win where both have one
for kernel in any "$KERNEL_ARCH"; do
    cp -r "$zig/lib/libc/include/$kernel-linux-any/." "$prefix/include/"
    chmod -R u+w "$prefix/include" # inputs are read-only, and so are copies of their directories
done
cp -r include/. "$prefix/include/"
cp arch/generic/bits/*.h "$prefix/include/bits/"
cp "arch/$MUSL_ARCH"/bits/*.h "$prefix/include/bits/"
rm -f "$prefix"/include/*.in
sed -f tools/mkalltypes.sed "arch/$MUSL_ARCH/bits/alltypes.h.in" include/alltypes.h.in >"$prefix/include/bits/alltypes.h"
sed 'p; s/__NR_/SYS_/' "arch/$MUSL_ARCH/bits/syscall.h.in" >"$prefix/include/bits/syscall.h"
echo "#define VERSION \"$version\"" >src/internal/version.h

# --- objects: a file of the architecture takes the place of the general one of the same name
mkdir obj
for file in src/*/*.c src/malloc/mallocng/*.c crt/*.c; do
    folder=${file%/*}
    name=${file##*/}
    name=${name%.c}
    for special in "$folder/$MUSL_ARCH/$name".[csS]; do
        [ ! -e "$special" ] || file=$special
    done
    echo "$file"
done >sources
for file in src/*/"$MUSL_ARCH"/*.[csS]; do
    general=$(echo "$file" | sed "s,/$MUSL_ARCH/,/,; s,\.[csS]$,.c,")
    [ -e "$general" ] || echo "$file"
done >>sources

flags="--no-default-config --target=$TARGET $CPU_FLAG $ARCH_FLAGS
    -std=c99 -nostdinc -ffreestanding -frounding-math -ffp-contract=off -fno-strict-aliasing -Wa,--noexecstack
    -D_XOPEN_SOURCE=700 -Iarch/$MUSL_ARCH -Iarch/generic -Isrc/include -Isrc/internal -I$prefix/include
    -O3 -fno-pie -fomit-frame-pointer -fno-unwind-tables -fno-asynchronous-unwind-tables -fno-stack-protector
    -ffunction-sections -fdata-sections -fno-ident -w"
cat >compile <<EOF
for file; do
    object=\${file%.*}
    pic=
    case \$file in crt/Scrt1.c | crt/rcrt1.c) pic=-fPIC ;; esac
    $zig/zig clang $(echo "$flags" | tr '\n' ' ') \$pic -c "\$file" -o "obj/\$(echo "\${object#src/}" | tr / -).o"
done
EOF
xargs -P "$JOBS" -n 8 sh -eu ./compile <sources

for start in crt1 Scrt1 rcrt1; do
    mv "obj/crt-$start.o" "$prefix/lib/$start.o"
done
for start in crti crtn; do # not every architecture has its own
    [ ! -e "obj/crt-$MUSL_ARCH-$start.o" ] || mv "obj/crt-$MUSL_ARCH-$start.o" "obj/crt-$start.o"
    mv "obj/crt-$start.o" "$prefix/lib/$start.o"
done
"$zig/zig" ar rcsD "$prefix/lib/libc.a" obj/*.o
for empty in m rt pthread crypt util xnet resolv dl; do
    "$zig/zig" ar rcsD "$prefix/lib/lib$empty.a"
done

# --- the compiler's own part: headers, runtime, and start files that have nothing to do
resource=$prefix/lib/clang
runtime=$("$zig/zig" clang --no-default-config --target="$TARGET" -resource-dir "$resource" --print-runtime-dir)
mkdir -p "$runtime"
ln -s ../../../../../x86_64-linux-musl/zig/ziglang/lib/include "$resource/include"

# Out of the runtime stay what musl does itself: the linker meets the runtime first. Mathematics stay for formats of
# numbers that musl has no functions for. The index of libc.a tells what musl has: it is the first member; its size
# stands in the header, then come a count (big-endian), as many numbers, and the names.
libc=$prefix/lib/libc.a
size=$(head -c 66 "$libc" | tail -c 10 | tr -d ' ')
count=$(head -c 72 "$libc" | tail -c 4 | od -An -tu1 | awk '{ print (($1 * 256 + $2) * 256 + $3) * 256 + $4 }')
tail -c +$((73 + 4 * count)) "$libc" | head -c $((size - 4 - 4 * count)) | tr '\0' '\n' >/tmp/functions
mkdir runtime
cp -r "$zig/lib/compiler_rt" runtime/
chmod -R u+w runtime
sed '/\/mem[a-z]*\.zig/d; /\/bcmp\.zig/d; /\/ssp\.zig/d' "$zig/lib/compiler_rt.zig" >runtime/compiler_rt.zig
(
    cd runtime
    for file in compiler_rt/*.zig; do
        awk 'FILENAME == "/tmp/functions" { libc[$0]; next }
            /@export\(&__(mul|div)[sdxt]c3,/ { print "{}"; next }
            /@export\(/ && match($0, /\.name = "[^"]*"/) && substr($0, RSTART + 9, RLENGTH - 10) in libc { print "{}"; next }
            { print }' /tmp/functions "$file" >edited
        mv edited "$file"
    done
    "$zig/zig" build-obj compiler_rt.zig -target "$ZIG_TARGET" -mcpu=baseline -O ReleaseFast -fstrip -fno-PIE \
        -fno-builtin -fno-unwind-tables -fomit-frame-pointer -ffunction-sections -fdata-sections \
        --cache-dir /tmp/zig --global-cache-dir /tmp/zig -femit-bin=builtins.o
)

# Multiplication and division of complex numbers (C11, annex G.5.1) by clang itself: with some ABIs it returns them in
# another way than zig, whose runtime gives wrong results there (s390x; mips64's `long double`).
cat >runtime/complex.c <<EOF
#define SIGN_OF_INFINITE(x, f) __builtin_copysign##f(__builtin_isinf(x) ? 1 : 0, x)
#define ZERO_IF_NAN(x, f) if (__builtin_isnan(x)) x = __builtin_copysign##f(0, x)
#define DEFINE(T, f, mode)                                                                                  \\
    T _Complex __mul##mode##c3(T a, T b, T c, T d)                                                          \\
    {                                                                                                       \\
        T ac = a * c, bd = b * d, ad = a * d, bc = b * c, re = ac - bd, im = ad + bc;                       \\
        if (__builtin_isnan(re) && __builtin_isnan(im)) {                                                   \\
            int again = 0;                                                                                  \\
            if (__builtin_isinf(a) || __builtin_isinf(b)) {                                                 \\
                a = SIGN_OF_INFINITE(a, f), b = SIGN_OF_INFINITE(b, f), again = 1;                          \\
                ZERO_IF_NAN(c, f);                                                                          \\
                ZERO_IF_NAN(d, f);                                                                          \\
            }                                                                                               \\
            if (__builtin_isinf(c) || __builtin_isinf(d)) {                                                 \\
                c = SIGN_OF_INFINITE(c, f), d = SIGN_OF_INFINITE(d, f), again = 1;                          \\
                ZERO_IF_NAN(a, f);                                                                          \\
                ZERO_IF_NAN(b, f);                                                                          \\
            }                                                                                               \\
            if (!again && (__builtin_isinf(ac) || __builtin_isinf(bd) || __builtin_isinf(ad) ||             \\
                           __builtin_isinf(bc))) {                                                          \\
                ZERO_IF_NAN(a, f);                                                                          \\
                ZERO_IF_NAN(b, f);                                                                          \\
                ZERO_IF_NAN(c, f);                                                                          \\
                ZERO_IF_NAN(d, f);                                                                          \\
                again = 1;                                                                                  \\
            }                                                                                               \\
            if (again)                                                                                      \\
                re = __builtin_inf() * (a * c - b * d), im = __builtin_inf() * (a * d + b * c);             \\
        }                                                                                                   \\
        return __builtin_complex(re, im);                                                                   \\
    }                                                                                                       \\
    T _Complex __div##mode##c3(T a, T b, T c, T d)                                                          \\
    {                                                                                                       \\
        T exponent = __builtin_logb##f(__builtin_fmax##f(__builtin_fabs##f(c), __builtin_fabs##f(d)));      \\
        int n = __builtin_isfinite(exponent) ? (int)exponent : 0;                                           \\
        c = __builtin_scalbn##f(c, -n), d = __builtin_scalbn##f(d, -n);                                     \\
        T norm = c * c + d * d;                                                                             \\
        T re = __builtin_scalbn##f((a * c + b * d) / norm, -n);                                             \\
        T im = __builtin_scalbn##f((b * c - a * d) / norm, -n);                                             \\
        if (__builtin_isnan(re) && __builtin_isnan(im)) {                                                   \\
            if (norm == 0 && (!__builtin_isnan(a) || !__builtin_isnan(b))) {                                \\
                T infinity = __builtin_copysign##f(__builtin_inf(), c);                                     \\
                re = infinity * a, im = infinity * b;                                                       \\
            } else if ((__builtin_isinf(a) || __builtin_isinf(b)) && __builtin_isfinite(c) &&               \\
                       __builtin_isfinite(d)) {                                                             \\
                a = SIGN_OF_INFINITE(a, f), b = SIGN_OF_INFINITE(b, f);                                     \\
                re = __builtin_inf() * (a * c + b * d), im = __builtin_inf() * (b * c - a * d);             \\
            } else if (exponent == __builtin_inf() && __builtin_isfinite(a) && __builtin_isfinite(b)) {     \\
                c = SIGN_OF_INFINITE(c, f), d = SIGN_OF_INFINITE(d, f);                                     \\
                re = 0 * (a * c + b * d), im = 0 * (b * c - a * d);                                         \\
            }                                                                                               \\
        }                                                                                                   \\
        return __builtin_complex(re, im);                                                                   \\
    }
DEFINE(float, f, s)
DEFINE(double, , d)
#if __LDBL_MANT_DIG__ == 64
DEFINE(long double, l, x)
#elif __LDBL_MANT_DIG__ == 113
DEFINE(long double, l, t)
#endif
EOF
"$zig/zig" clang $flags -c runtime/complex.c -o runtime/complex.o
"$zig/zig" ar rcsD "$runtime/libclang_rt.builtins.a" runtime/builtins.o runtime/complex.o
for name in crtbegin crtend; do
    : | "$zig/zig" clang --no-default-config --target="$TARGET" $ARCH_FLAGS -fno-ident -x c -c - -o "$runtime/clang_rt.$name.o"
done
