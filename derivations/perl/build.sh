# Only miniperl, the perl that perl itself is built with: no compiled modules. It takes a quarter of the time.
sh Configure -des -Dcc="$CC" -Dar="$AR" -Dosname=linux -Uusenm -Uusedl -Ui_db -Ui_gdbm -Doptimize=-O1 -Accflags='-D_GNU_SOURCE -w' \
    -Dprefix=/usr -Dmyhostname=localhost -Dmydomain=.localdomain -Dperladmin=build@localhost -Dcf_by=build \
    -Dcf_email=build@localhost -Dmyuname=linux -Dosvers=0
make miniperl lib/Config.pm

mkdir -p "$out/bin" "$out/lib/File"
cp miniperl "$out/bin/"
cp -r lib/. dist/Carp/lib/. dist/Exporter/lib/. dist/constant/lib/. dist/PathTools/lib/. cpan/File-Path/lib/. \
    cpan/Getopt-Long/lib/. cpan/Math-BigInt/lib/. cpan/bignum/lib/. cpan/Text-ParseWords/lib/. cpan/parent/lib/. dist/base/lib/. dist/FindBin/lib/. "$out/lib/"
cp dist/PathTools/Cwd.pm "$out/lib/"
rm -rf "$out/lib/unicore" "$out/lib/perl5db.pl" "$out/lib/buildcustomize.pl"
find "$out/lib" \( -name '*.t' -o -name '*.pod' \) -exec rm -f {} +

sed -i '/^cf_time=/d; /^## Configuration time/d' "$out/lib/Config_heavy.pl"

# What Configure scripts use of the compiled or generated modules lib, IPC::Cmd, Pod::Usage, POSIX, re, Scalar::Util and File::Glob, in plain perl.
mkdir "$out/lib/IPC" "$out/lib/Scalar"
cat >"$out/lib/lib.pm" <<'EOF'
package lib;
sub import { shift; unshift @INC, @_; return }
1;
EOF
cat >"$out/lib/IPC/Cmd.pm" <<'EOF'
package IPC::Cmd;
use Exporter 'import';
our @EXPORT_OK = qw(can_run);
sub can_run { return (grep { -x } map { "$_/$_[0]" } split /:/, $ENV{PATH})[0] }
1;
EOF
cat >"$out/lib/Pod/Usage.pm" <<'EOF'
package Pod::Usage;
use Exporter 'import';
our @EXPORT = qw(pod2usage);
sub pod2usage { die "see the documentation\n" }
1;
EOF
cat >"$out/lib/POSIX.pm" <<EOF
package POSIX;
sub uname { return ('Linux', 'localhost', '0', '0', '${arch}') }
1;
EOF
cat >"$out/lib/re.pm" <<'EOF'
package re;
sub import { }
1;
EOF
cat >"$out/lib/Scalar/Util.pm" <<'EOF'
package Scalar::Util;
use Exporter 'import';
our @EXPORT_OK = qw(blessed refaddr);
sub blessed { return ref $_[0] && UNIVERSAL::can($_[0], 'can') ? ref $_[0] : undef }
sub refaddr { require overload; return ref $_[0] ? hex((overload::StrVal($_[0]) =~ /\(0x([0-9a-f]+)\)$/)[0]) : undef }
1;
EOF
cat >"$out/lib/File/Glob.pm" <<'EOF'
package File::Glob;
use strict;
use Exporter 'import';
our @EXPORT_OK = qw(bsd_glob);

# The paths that match one pattern of *, ? and {a,b}, sorted; a pattern without these is its own answer.
sub bsd_glob {
    my ($pattern) = @_;
    return map { bsd_glob($_) } map { "$1$_$3" } split /,/, $2, -1 if $pattern =~ /^(.*?)\{([^{}]*)\}(.*)$/s;
    my ($dir, $rest) = $pattern =~ m{^(/)(.*)}s ? ($1, $2) : ('', $pattern);
    my @found = ($dir);
    for my $part (split m{/+}, $rest) {
        my $re = join '', map { $_ eq '*' ? '.*' : $_ eq '?' ? '.' : quotemeta } split //, $part;
        my $wild = $part =~ /[*?]/;
        @found = map {
            my $at = $_ eq '' || $_ =~ m{/$} ? $_ : "$_/";
            my @names = $part;
            if ($wild) {
                opendir my $handle, $at eq '' ? '.' : $at;
                @names = $handle ? sort grep { /^$re$/s && ($part =~ /^\./ || !/^\./) } readdir $handle : ();
            }
            map { "$at$_" } @names;
        } @found;
    }
    return $pattern =~ /[*?]/ ? grep { -e } @found : @found;
}
1;
EOF

cat >"$out/bin/perl" <<EOF
#!/bin/sh
PERL5LIB=$out/lib\${PERL5LIB:+:\$PERL5LIB} exec $out/bin/miniperl "\$@"
EOF
chmod 755 "$out/bin/perl"
