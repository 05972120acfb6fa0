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

flags="--no-default-config --target=$TARGET $CPU_FLAG
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
mv "obj/crt-$MUSL_ARCH-crti.o" "$prefix/lib/crti.o"
mv "obj/crt-$MUSL_ARCH-crtn.o" "$prefix/lib/crtn.o"
"$zig/zig" ar rcsD "$prefix/lib/libc.a" obj/*.o
for empty in m rt pthread crypt util xnet resolv dl; do
    "$zig/zig" ar rcsD "$prefix/lib/lib$empty.a"
done

# --- the compiler's own part: headers, runtime, and start files that have nothing to do
resource=$prefix/lib/clang
mkdir -p "$resource/lib/linux"
ln -s ../../../../../x86_64-linux-musl/zig/ziglang/lib/include "$resource/include"

# Out of the runtime stay what musl does itself (libm, mem*, stack protector): the linker meets the runtime first.
mkdir runtime
sed -e '/Math routines/,/^$/d; /\/mem[a-z]*\.zig/d; /\/bcmp\.zig/d; /\/ssp\.zig/d' \
    -e "/\/$FOREIGN_DIVISION\.zig/d" "$zig/lib/compiler_rt.zig" >runtime/compiler_rt.zig
cp -r "$zig/lib/compiler_rt" runtime/
(
    cd runtime
    "$zig/zig" build-obj compiler_rt.zig -target "$ZIG_TARGET" -mcpu=baseline -O ReleaseFast -fstrip -fno-PIE \
        -fno-builtin -fno-unwind-tables -fomit-frame-pointer -ffunction-sections -fdata-sections \
        --cache-dir /tmp/zig --global-cache-dir /tmp/zig -femit-bin=builtins.o
)
"$zig/zig" ar rcsD "$resource/lib/linux/libclang_rt.builtins-$arch.a" runtime/builtins.o
for name in crtbegin crtend; do
    : | "$zig/zig" clang --no-default-config --target="$TARGET" -fno-ident -x c -c - -o "$resource/lib/linux/clang_rt.$name-$arch.o"
done
