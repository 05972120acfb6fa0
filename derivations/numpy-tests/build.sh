cp -R . "$out"
for package in hypothesis iniconfig packaging pluggy pygments pytest sortedcontainers; do
    cp -R "../$package/." "$out"
done

# Tests that need a compiler are skipped if meson finds none, but fail if there is no meson.
mkdir "$out/bin"
printf '#!/bin/sh\necho "meson: there is no compiler" >&2\nexit 1\n' >"$out/bin/meson"
chmod 755 "$out/bin/meson"

# Each file of tests runs in a process of its own, which would compile all of this again.
"$build_python/bin/python3" -m compileall -q -j1 --invalidation-mode unchecked-hash -s "$out" "$out"
