# shellcheck disable=SC2154
# Builds the program and the libraries of tests/real/loader; the sources are in the current directory.
lib=$out/lib
mkdir -p "$lib/lib" "$out/bin" objects

compile() { # OBJECT SOURCE [FLAG...]
    object=objects/$1.o source=$2
    shift 2
    # The start of a program is not linked, so neither is the C library: it is the program's.
    "$CC" -O2 -fPIC "$@" -c "libraries/$source" -o "$object"
}
link() { # LIBRARY OBJECT... [FLAG...]: what is not an option is an object or a library
    library=$1
    shift
    arguments=
    for word; do
        case $word in
            -*) arguments="$arguments $word" ;;
            *.so) arguments="$arguments $lib/$word" ;;
            *.a) arguments="$arguments $word" ;;
            *) arguments="$arguments objects/$word.o" ;;
        esac
    done
    # shellcheck disable=SC2016,SC2086
    "$LD" -shared --eh-frame-hdr --enable-new-dtags -rpath '$ORIGIN' -soname "${library##*/}" -o "$lib/$library" $arguments
}

for name in base order_a order_b order_c tls tls_initial_exec relocations many text_relocation fuzzed missing_symbol missing_tls \
    lazy late; do
    compile $name $name.c
done
# As other linkers do: the C library is among the libraries that it needs.
"$LD" -shared -soname libc.so -o "$lib/libc.so" objects/late.o
link base.so base libc.so
rm "$lib/libc.so"
ln -s base.so "$lib/link-to-base.so"
link order_c.so order_c
link order_b.so order_b order_c.so
link order_a.so order_a order_b.so order_c.so
link tls.so tls
link tls_initial_exec.so tls_initial_exec
link relocations.so relocations -zrelro
for name in relocations fuzzed; do
    link ${name}_sysv.so $name --hash-style=sysv
    # This table has entries of 64 bits there, which lld does not know.
    [ "$arch" != s390x ] || "$build_python/bin/python3" widen.py "$lib/${name}_sysv.so"
done
link relocations_bound.so relocations -zrelro -znow
link many.so many
link many_packed.so many -zpack-relative-relocs
link text_relocation.so text_relocation -znotext
link fuzzed.so fuzzed
link missing_symbol.so missing_symbol
link missing_tls.so missing_tls
link lazy.so lazy
link late.so late

# The other way to reach thread-local storage, where the compiler has two (aarch64 has descriptors alone, others have none).
for dialect in gnu2 desc; do
    compile tls_descriptors tls.c -mtls-dialect=$dialect 2>/dev/null || continue
    break
done
[ -e objects/tls_descriptors.o ] || cp objects/tls.o objects/tls_descriptors.o
link tls_descriptors.so tls_descriptors

for number in 1 2 3 4 5 6 7 8 9 10 11 12; do
    compile crowd crowd.c -DNUMBER=$number
    link crowd_$number.so crowd
done

# Parts of a larger file: the second has the two libraries that the first needs, under the name of one.
link lib/order_b.so order_b order_c
ln -s lib/order_b.so "$lib/part_b.so"
# shellcheck disable=SC2016
"$LD" -shared --enable-new-dtags -rpath '$ORIGIN/lib' -o "$lib/part_a.so" objects/order_a.o "$lib/lib/order_b.so"

# What fails: a library that is nowhere, another C library (by its name, by its versions), half of a file.
link nowhere.so late
link missing_library.so lazy nowhere.so
rm "$lib/nowhere.so"
"$LD" -shared -soname libc.so.6 -o libc.so.6 objects/late.o
"$LD" -shared -o "$lib/glibc.so" objects/lazy.o libc.so.6
echo 'GLIBC_2.29 { global: comes_later; };' >versions
"$LD" -shared -soname libm.so.6 --version-script versions -o libm.so.6 objects/late.o
"$LD" -shared -o "$lib/glibc_versions.so" objects/lazy.o libm.so.6
# GCC's runtime has versions of that name, too, with any C library.
echo 'GLIBC_2.0 { global: comes_later; };' >versions
link libgcc_s-1.so late --version-script=versions
link gcc_versions.so lazy libgcc_s-1.so
head -c 700 "$lib/tls.so" >"$lib/truncated.so"
cp objects/base.o "$lib/object.so"
echo 'text' >"$lib/text.so"
: >"$lib/empty.so"

# C++: the runtime of the compiler's seed as a library of its own.
parts=$zig/ziglang/lib
has=
for feature in HAS_THREADS HAS_MONOTONIC_CLOCK HAS_TERMINAL HAS_MUSL_LIBC HAS_FILESYSTEM HAS_RANDOM_DEVICE HAS_LOCALIZATION \
    HAS_UNICODE HAS_WIDE_CHARACTERS HAS_THREAD_API_PTHREAD ABI_VERSION; do
    has="$has -D_LIBCPP_$feature=1"
done
for feature in HAS_TIME_ZONE_DATABASE HAS_THREAD_API_EXTERNAL HAS_THREAD_API_WIN32 HAS_THREAD_API_C11 \
    HAS_VENDOR_AVAILABILITY_ANNOTATIONS; do
    has="$has -D_LIBCPP_$feature=0"
done
runtime=
for file in cxa_aux_runtime cxa_default_handlers cxa_exception cxa_exception_storage cxa_guard cxa_handlers cxa_personality \
    cxa_vector cxa_virtual fallback_malloc abort_message private_typeinfo stdlib_exception stdlib_stdexcept stdlib_typeinfo \
    stdlib_new_delete; do
    # shellcheck disable=SC2086
    "$CXX" -std=c++23 -O1 -fPIC -w -nostdinc++ -D_LIBCPP_ABI_NAMESPACE=__1 $has -D_LIBCPP_PSTL_BACKEND_SERIAL \
        -D_LIBCPP_HARDENING_MODE_DEFAULT=2 -D_LIBCPP_ASSERTION_SEMANTIC_DEFAULT=2 \
        -D_LIBCXXABI_BUILDING_LIBRARY -D_LIBCPP_BUILDING_LIBRARY -DLIBCXXABI_NON_DEMANGLING_TERMINATE \
        -isystem "$parts/libcxx/include" -isystem "$parts/libcxxabi/include" "-I$parts/libcxx/src" "-I$parts/libcxx" \
        "-I$parts/libunwind/include" -c "$parts/libcxxabi/src/$file.cpp" -o objects/$file.o
    runtime="$runtime $file"
done
for file in libunwind.cpp Unwind-EHABI.cpp UnwindLevel1.c UnwindLevel1-gcc-ext.c UnwindRegistersRestore.S UnwindRegistersSave.S; do
    kind=-fexceptions
    [ "${file##*.}" != cpp ] || kind='-std=c++11 -nostdinc++ -fno-exceptions -fno-rtti'
    # shellcheck disable=SC2086
    "$CC" $kind -O1 -fPIC -funwind-tables -w -D_LIBUNWIND_IS_NATIVE_ONLY "-I$parts/libunwind/include" \
        -c "$parts/libunwind/src/$file" -o "objects/${file%.*}.o"
    runtime="$runtime ${file%.*}"
done
# Older ARM processors have no atomic instructions: the functions in their place are in the compiler's own runtime.
# shellcheck disable=SC2086
link cxx.so $runtime "$("$CC" -print-libgcc-file-name)" --exclude-libs=ALL --gc-sections
for name in throw catch; do
    "$CXX" -std=c++17 -nostdinc++ -O2 -fPIC -Ilibraries -c libraries/$name.cc -o objects/$name.o
done
link throw.so throw cxx.so
link catch.so catch throw.so cxx.so

# The program: dynamic libraries by name are found in lib beside it.
# shellcheck disable=SC2016
"$CC" -O2 -Wno-deprecated-non-prototype "-I$loader/include" program.c "@$loader/lib/loader.options" '-Wl,-rpath,$ORIGIN/../lib' -o "$out/bin/program"
# The same without the list of what the C library exports: it can load what needs nothing of it.
"$CC" -O2 -Wno-deprecated-non-prototype "-I$loader/include" program.c "$loader/lib/ldso.o" -o "$out/bin/program-without-symbols"
