# docs/bench-arrays.svg: the cost for each descriptor against their number.
set terminal svg size 960,560 font 'sans-serif,13' background '#ffffff' name 'bench_arrays'
set output 'docs/bench-arrays.svg'
set multiplot layout 1,2 title 'Cost of passing one of many descriptors' font ',16'

single = '#b04a00'; library = '#00609f'; hand = '#555555'; mmsg = '#6a3d9a'
set logscale xy
set yrange [50:20000]
set ytics ('50' 50, '100' 100, '200' 200, '500' 500, '1,000' 1000, '2,000' 2000, \
	'5,000' 5000, '10,000' 10000, '20,000' 20000)
set grid xtics ytics lc rgb '#dddddd' lw 1
set border 3
set tics nomirror
# Alike in both, whatever the legends need.
set tmargin at screen 0.85
set bmargin at screen 0.33
set key outside below vertical maxrows 4 Left reverse spacing 1.2 samplen 2
set ylabel 'ns for each descriptor (log scale)'

set title 'in one process: send and receive'
set xlabel 'descriptors in a message (log scale)'
set xtics (1, 2, 4, 16, 64, 253)
set xrange [0.8:320]
plot results.'/message-single.points' with linespoints lw 2 pt 7 ps 0.7 lc rgb single \
	title 'sendfd, recvfd: one at a time', \
	results.'/message-hand.points' with linespoints lw 2 pt 4 ps 1.1 lc rgb hand \
	title 'hand-written, all in a message', \
	results.'/message-library.points' with linespoints lw 2 pt 7 ps 0.7 lc rgb library \
	title 'sendfds, recvfds'

set title 'to another process, which closes them'
set xlabel 'descriptors in all (log scale)'
set xtics ('1,000' 1000, '10,000' 10000, '100,000' 100000)
set xrange [800:125000]
plot results.'/process-single.points' with linespoints lw 2 pt 7 ps 0.7 lc rgb single \
	title 'sendfd, recvfd: one at a time', \
	results.'/process-hand.points' with linespoints lw 2 pt 4 ps 1.1 lc rgb hand \
	title 'hand-written, 253 in a message', \
	results.'/process-mmsg.points' with linespoints lw 2 pt 6 ps 1.5 lc rgb mmsg \
	title 'sendmmsg, recvmmsg', \
	results.'/process-library.points' with linespoints lw 2 pt 7 ps 0.7 lc rgb library \
	title 'sendfds\_all, recvfds\_all'
unset multiplot
