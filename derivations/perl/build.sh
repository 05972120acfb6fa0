date >&2
sh Configure -des -Dcc="$CC" -Dar="$AR" -Dosname=linux -Uusenm -Uusedl -Ui_db -Ui_gdbm -Doptimize=-O1 -Dprefix="$out" 
date >&2
make miniperl
date >&2
exit 1
