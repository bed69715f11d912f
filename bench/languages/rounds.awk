# Makes of the lines "case,contender,unit,round,value" those of a benchmark's CSV: the
# medians of the values, and median and quartiles of the ratio to the case's first
# contender in the same round.
BEGIN { FS = "," }

{
	id = $1 "," $2 "," $3
	if (!(id in rounds))
		order[++ids] = id
	if (!($1 in first))
		first[$1] = id
	baseline[id] = first[$1]
	values[id, $4] = $5
	rounds[id]++
}

# Sorts the first n of figures.
function sort(n,    i, j, figure) {
	for (i = 2; i <= n; i++) {
		figure = figures[i]
		for (j = i - 1; j >= 1 && figures[j] > figure; j--)
			figures[j + 1] = figures[j]
		figures[j + 1] = figure
	}
}

# The value below which that share of n sorted figures lies.
function quantile(n, share,    place, below, above) {
	place = 1 + share * (n - 1)
	below = int(place)
	above = below < n ? below + 1 : below
	return figures[below] + (place - below) * (figures[above] - figures[below])
}

END {
	for (i = 1; i <= ids; i++) {
		id = order[i]
		n = rounds[id]
		for (round = 0; round < n; round++)
			figures[round + 1] = values[id, round]
		sort(n)
		value = quantile(n, 0.5)
		for (round = 0; round < n; round++)
			figures[round + 1] = values[id, round] / values[baseline[id], round]
		sort(n)
		printf "%s,%.6g,%.4f,%.4f,%.4f\n", id, value, quantile(n, 0.5), quantile(n, 0.25),
			quantile(n, 0.75)
	}
}
