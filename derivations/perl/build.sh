# Only miniperl, the perl that perl itself is built with: no compiled modules. It takes a quarter of the time.
sh Configure -des -Dcc="$CC" -Dar="$AR" -Dosname=linux -Uusenm -Uusedl -Ui_db -Ui_gdbm -Doptimize=-O1 -Accflags='-D_GNU_SOURCE -w' \
    -Dprefix=/usr -Dmyhostname=localhost -Dperladmin=build@localhost -Dcf_by=build
make miniperl lib/Config.pm

mkdir -p "$out/bin" "$out/lib/File"
cp miniperl "$out/bin/"
cp -r lib/. dist/Carp/lib/. dist/Exporter/lib/. dist/constant/lib/. dist/PathTools/lib/. cpan/File-Path/lib/. \
    cpan/Getopt-Long/lib/. cpan/Text-ParseWords/lib/. cpan/parent/lib/. dist/base/lib/. "$out/lib/"
cp dist/PathTools/Cwd.pm "$out/lib/"
rm -rf "$out/lib/unicore" "$out/lib/perl5db.pl" "$out/lib/buildcustomize.pl"
find "$out/lib" \( -name '*.t' -o -name '*.pod' \) -exec rm -f {} +

# A pure File::Glob, as far as Configure scripts use it.
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
