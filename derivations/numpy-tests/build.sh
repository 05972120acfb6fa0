cp -R . "$out"
for package in hypothesis iniconfig packaging pluggy pygments pytest sortedcontainers; do
    cp -R "../$package/." "$out"
done
