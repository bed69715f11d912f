# docs/bench-ratios.svg: what one descriptor costs, as ratios to hand-written C.
set terminal svg size 960,500 font 'sans-serif,13' background '#ffffff' name 'bench_ratios'
set output 'docs/bench-ratios.svg'

set title 'Time to pass one descriptor, relative to hand-written sendmsg and recvmsg' font ',16'
set ylabel 'ratio (median and quartiles of the rounds)'
set yrange [0:*]
set xrange [0.4:5.6]
set xtics ('send' 1, 'receive' 2, "round trip\nin one process" 3, \
	"ping-pong of two\nprocesses, one CPU" 4, "ping-pong of two\nprocesses, two CPUs" 5) scale 0
set grid ytics lc rgb '#dddddd' lw 1
set border 3
set tics nomirror
set key outside top center horizontal samplen 1.5 width -2
set bmargin 4
set boxwidth 0.24
set style fill solid 1.0 noborder
# The quartiles, as a line with caps.
set style arrow 1 heads size 0.04,90 lw 1.5 lc rgb '#222222'

plot results.'/bars-library.points' using 1:2 with boxes lc rgb '#00609f' title 'libsendfd', \
	results.'/bars-check.points' using 1:2 with boxes lc rgb '#8fb8d8' \
		title 'hand-written after getsockname', \
	results.'/bars-byte.points' using 1:2 with boxes lc rgb '#bbbbbb' \
		title 'one byte without descriptor', \
	for [bars in 'library check byte'] results.'/bars-'.bars.'.points' \
		using 1:3:(0):($4-$3) with vectors as 1 notitle, \
	1 with lines lw 1.5 dt 2 lc rgb '#222222' title 'hand-written'
