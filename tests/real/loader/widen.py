"""widen.py LIBRARY: gives a library for s390x the hash table of its ABI, with entries of 64 bits.

The linker writes entries of 32 bits. The new table follows the rest of the file. It is in a segment of its
own, whose header takes the place of PT_GNU_STACK.
"""

import struct
import sys
from pathlib import Path

PT_LOAD, PT_GNU_STACK, SHT_HASH, SHT_DYNAMIC, DT_HASH = 1, 0x6474E551, 5, 6, 4
PAGE = 65536


def main(library: Path) -> None:
    elf = bytearray(library.read_bytes())
    segments, sections = struct.unpack_from(">QQ", elf, 32)
    _, segment_count, _, section_count = struct.unpack_from(">HHHH", elf, 54)
    headers = range(sections, sections + 64 * section_count, 64)
    by_type = {struct.unpack_from(">I", elf, at + 4)[0]: at for at in headers}
    start, size = struct.unpack_from(">QQ", elf, by_type[SHT_HASH] + 24)
    words = struct.unpack_from(f">{size // 4}I", elf, start)
    assert len(words) == 2 + words[0] + words[1]

    end = stack = 0
    for header in range(segments, segments + 56 * segment_count, 56):
        kind, _, _, address, _, _, length = struct.unpack_from(">IIQQQQQ", elf, header)
        end = max(end, address + length) if kind == PT_LOAD else end
        stack = header if kind == PT_GNU_STACK else stack
    address = -(-end // PAGE) * PAGE
    elf += bytes(-len(elf) % PAGE)
    at, size = len(elf), 8 * len(words)
    elf += struct.pack(f">{len(words)}Q", *words)

    struct.pack_into(">IIQQQQQQ", elf, stack, PT_LOAD, 4, at, address, address, size, size, PAGE)
    struct.pack_into(">QQQ", elf, by_type[SHT_HASH] + 16, address, at, size)
    start, size = struct.unpack_from(">QQ", elf, by_type[SHT_DYNAMIC] + 24)
    (entry,) = (e for e in range(start, start + size, 16) if struct.unpack_from(">Q", elf, e) == (DT_HASH,))
    struct.pack_into(">Q", elf, entry + 8, address)
    library.write_bytes(elf)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
