# Busybox by name. What could reach outside of a build, and what the toolchain brings itself (ar), is left out.
mkdir "$out/bin"
cd "$out/bin"
for tool in [ ash awk base64 basename bc bunzip2 bzcat bzip2 cat chgrp chmod chown cmp cp cpio cut date dc dd \
    diff dirname du echo ed egrep env expand expr factor false fgrep find fold getopt grep groups gunzip gzip \
    head hexdump hostname id kill less link ln logname ls lzcat lzma md5sum mkdir mkfifo mktemp more mv nl \
    nproc od paste patch pidof printf ps pwd readlink realpath rev rm rmdir sed seq sh sha1sum sha256sum \
    sha3sum sha512sum shred shuf sleep sort stat strings stty sync tac tail tar tee test time timeout touch tr \
    true truncate tty uname unexpand uniq unlink unlzma unxz unzip uptime usleep uudecode uuencode vi wc which \
    whoami xargs xxd xz xzcat yes zcat; do
    ln -s ../../busybox/bin/busybox "$tool"
done

cat >./comm <<'EOF'
#!/bin/sh
# comm [-123] FILE1 FILE2: lines of two sorted files, in three columns.
show=123
while getopts 123 column; do
    show=$(echo "$show" | tr -d "$column")
done
shift $((OPTIND - 1))
exec awk -v show="$show" -v right="$2" '
    function put(column, line,    c, tabs) {
        if (!index(show, column)) return
        for (c = 1; c < column; c++) if (index(show, c)) tabs = tabs "\t"
        print tabs line
    }
    BEGIN { more = (getline there < right) > 0 }
    {
        here = $0 ""
        while (more && (there "") < here) { put(2, there); more = (getline there < right) > 0 }
        if (more && (there "") == here) { put(3, here); more = (getline there < right) > 0 }
        else put(1, here)
    }
    END { while (more) { put(2, there); more = (getline there < right) > 0 } }
' "$1"
EOF

cat >./install <<'EOF'
#!/bin/sh
# install [-cDdpsTv] [-m MODE] [-t FOLDER] SOURCE... TARGET: as much of it as makefiles use. Owners and -s have no effect.
set -e
mode=755 folders='' parents='' into=''
while getopts cDdpsTvm:g:o:t: option; do
    case $option in
        d) folders=1 ;;
        D) parents=1 ;;
        m) mode=$OPTARG ;;
        t) into=$OPTARG ;;
        \?) exit 1 ;;
        *) ;;
    esac
done
shift $((OPTIND - 1))
if [ "$folders" ]; then
    mkdir -p "$@"
    chmod "$mode" "$@"
    exit
fi
if [ -z "$into" ]; then
    for last; do :; done
    count=$(($# - 1))
    if [ ! -d "$last" ]; then
        [ "$count" = 1 ] || { echo "install: $last is no folder" >&2; exit 1; }
        [ -z "$parents" ] || mkdir -p "$(dirname "$last")"
        rm -f "$last"
        cp "$1" "$last"
        chmod "$mode" "$last"
        exit
    fi
    into=$last
else
    count=$#
    [ -z "$parents" ] || mkdir -p "$into"
fi
for file; do
    [ "$count" != 0 ] || break
    count=$((count - 1))
    copy=$into/${file##*/}
    rm -f "$copy"
    cp "$file" "$copy"
    chmod "$mode" "$copy"
done
EOF
chmod 755 comm install
