# Processes in the background of a test: source it after scratch_directory. Those that
# still run when the test ends are killed.
# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # status is for the check, scratch is from tap.sh

# Kills a command that hangs: $limited COMMAND...
limited='timeout -k 5 300'

processes=' '
# timeout(1) passes the signal on.
clean_up() {
	for process in $processes; do
		kill "$process" 2>/dev/null && wait "$process" 2>/dev/null
	done
	cd / && rm -rf "$scratch"
}
trap clean_up EXIT

# background LOG COMMAND...: its output in LOG, its process in process.
background() {
	log=$1
	shift
	rm -f "$log" # lest what an earlier process printed be taken for this one's
	$limited "$@" >"$log" 2>&1 &
	process=$!
	processes="$processes$process "
}

# finish PROCESS: waits for it; its status in status.
finish() {
	wait "$1" 2>/dev/null
	status=$?
	processes="${processes%% "$1" *} ${processes#* "$1" }"
}

# wait_until COMMAND...: until it succeeds, for some 20 seconds at most.
wait_until() {
	tries=1000
	until "$@"; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		sleep 0.02
	done
}
