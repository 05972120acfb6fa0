cp -R . "$out"
for package in hypothesis iniconfig packaging pluggy pygments pytest sortedcontainers; do
    cp -R "../$package/." "$out"
done
# Each file of tests runs in a process of its own, which would compile all of this again.
"$build_python/bin/python3" -m compileall -q -j1 --invalidation-mode unchecked-hash -s "$out" "$out"
