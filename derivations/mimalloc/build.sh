# One object that defines malloc and everything that goes with it. Linked as an object, not looked up in an archive, it
# always wins over the C library's; and it also answers to the names by which musl calls its own malloc. Its other names
# are changed, because CPython contains mimalloc a second time (PYTHONMALLOC=mimalloc); what CPython asks of it without
# the GIL is answered as with it.
sed -i -E 's/\b(_?)mi_/\1malloc_mi_/g' Objects/mimalloc/*.[ch] Objects/mimalloc/prim/*.c Objects/mimalloc/prim/unix/*.c \
    Include/internal/mimalloc/*.h Include/internal/mimalloc/mimalloc/*.h
sed -i 's/^#if defined(__wasi__)$/#if 1/' Objects/mimalloc/alloc-override.c
mkdir "$out/lib"
$CC -std=gnu11 -O3 -fno-lto -fno-builtin-malloc -ftls-model=local-exec -fvisibility=hidden \
    -DNDEBUG -DMI_DEBUG=0 -DMI_MALLOC_OVERRIDE=1 -DMI_SKIP_COLLECT_ON_EXIT=1 \
    '-D_PyMem_mi_page_clear_qsbr(page)=((void)0)' '-D_PyMem_mi_page_is_safe_to_free(page)=1' \
    '-D_PyMem_mi_page_maybe_free(page,queue,force)=(_malloc_mi_page_free(page,queue,force),1)' \
    '-D_PyMem_mi_page_reclaimed(page)=((void)0)' '-D_PyMem_mi_heap_collect_qsbr(heap)=((void)0)' \
    -IInclude/internal/mimalloc -c Objects/mimalloc/static.c -o "$out/lib/malloc.o"
mkdir -p "$out/share/licenses/mimalloc"
sed -n '/^mimalloc$/,/^asyncio$/s/^   //p' Doc/license.rst >"$out/share/licenses/mimalloc/LICENSE"
