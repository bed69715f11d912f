#!/bin/sh
# Follows each link of a document to a file of this repository.
. tests/lib/tap.sh

for page in *.md docs/*.md examples/*.md bindings/*/*.md; do
	[ -f "$page" ] || continue
	# shellcheck disable=SC2013 # a link has no space in it
	for link in $(grep -o '](\([^)]*\))' "$page" | sed 's/^](//; s/)$//'); do
		case $link in
		http*) continue ;;
		'#'*) target=$page ;;
		*) target=$(dirname "$page")/${link%%#*} ;;
		esac
		ok "$page: $link" test -e "$target"
		case $link in
		*'#'*)
			ok "$page: $link is a heading" grep -qx "${link#*#}" <<-end
				$(sed -n 's/^##* //p' "$target" | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9\n-')
			end
			;;
		esac
	done
done
tap_done
