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

# --- objects: a file of the architecture takes the place of the general one of the same name. Old architectures of 32 bits
# have functions for old programs, too (compat/time32): scripts that only look whether a name can be linked find it there.
mkdir obj
compat=$(sed -n 's/^COMPAT_SRC_DIRS = //p' "arch/$MUSL_ARCH/arch.mak" 2>/dev/null || true)
for file in src/*/*.c src/malloc/mallocng/*.c ${compat:+"$compat"/*.c} crt/*.c; do
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

# What a program can link: the index of libc.a names it. The index is the first member; its size stands in the header,
# then come a count (big-endian), as many numbers, and the names.
libc=$prefix/lib/libc.a
functions=$prefix/share/libc.functions
mkdir -p "${functions%/*}"
size=$(head -c 66 "$libc" | tail -c 10 | tr -d ' ')
count=$(head -c 72 "$libc" | tail -c 4 | od -An -tu1 | awk '{ print (($1 * 256 + $2) * 256 + $3) * 256 + $4 }')
tail -c +$((73 + 4 * count)) "$libc" | head -c $((size - 4 - 4 * count)) | tr '\0' '\n' |
    grep -E '^[a-zA-Z_][a-zA-Z0-9_]*$' | sort -u >"$functions"

# Out of the runtime stay what musl does itself: the linker meets the runtime first. Mathematics stay for formats of
# numbers that musl has no functions for.
mkdir runtime
cp -r "$zig/lib/compiler_rt" runtime/
chmod -R u+w runtime
sed '/\/mem[a-z]*\.zig/d; /\/bcmp\.zig/d; /\/ssp\.zig/d' "$zig/lib/compiler_rt.zig" >runtime/compiler_rt.zig
(
    cd runtime
    for file in compiler_rt/*.zig; do
        awk -v functions="$functions" 'FILENAME == functions { libc[$0]; next }
            /@export\(&__(mul|div)[sdxt]c3,/ { print "{}"; next }
            /@export\(/ && match($0, /\.name = "[^"]*"/) && substr($0, RSTART + 9, RLENGTH - 10) in libc { print "{}"; next }
            { print }' "$functions" "$file" >edited
        mv edited "$file"
    done
    "$zig/zig" build-obj compiler_rt.zig -target "$ZIG_TARGET" -mcpu=baseline -O ReleaseFast -fstrip -fno-PIE \
        -fno-builtin -fno-unwind-tables -fomit-frame-pointer -ffunction-sections -fdata-sections \
        --cache-dir /tmp/zig --global-cache-dir /tmp/zig -femit-bin=builtins.o
)

# What zig's runtime has not, or not right, comes from C files that patches add.
for file in compiler/*.c; do
    # shellcheck disable=SC2086
    "$zig/zig" clang $flags -c "$file" -o "runtime/$(basename "$file" .c).o"
done
"$zig/zig" ar rcsD "$runtime/libclang_rt.builtins.a" runtime/*.o
for name in crtbegin crtend; do
    # shellcheck disable=SC2086
    : | "$zig/zig" clang --no-default-config --target="$TARGET" $ARCH_FLAGS -fno-ident -x c -c - -o "$runtime/clang_rt.$name.o"
done
install -D -m 644 -t "$out/share/licenses/musl" COPYRIGHT
install -D -m 644 -t "$out/share/licenses/zig" "$zig/LICENSE"
