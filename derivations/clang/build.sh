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
compiler="exec $zig clang --no-default-config --target=$system -march=$cpu ${ARCH_FLAGS-} --sysroot=$sysroot \
-resource-dir $sysroot/usr/lib/clang --start-no-unused-arguments -fno-pie -no-pie -static -rtlib=compiler-rt \
--unwindlib=none --ld-path=$out/bin/ld -Wl,-z,stack-size=0x800000 -Wl,--build-id=none \
-ffile-prefix-map=/build/source=. -ffile-prefix-map=/build=. --end-no-unused-arguments"
echo "$compiler \"\$@\"" | script cc
echo "$compiler --driver-mode=g++ -nostdlib++ \"\$@\"" | script c++
echo "$compiler -E \"\$@\"" | script cpp
echo "exec $zig ld.lld \"\$@\"" | script ld
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
    ln -s "$tool" "$system-$tool"
done
