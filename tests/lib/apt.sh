# Packages of Debian's suites for tests in sh: source it after tap.sh. Each suite has an apt
# of its own below $CACHE, which knows how this machine's apt reaches its mirror, but runs
# no hooks: this machine's packages, package lists and caches are not changed. What is kept
# in CACHE ($XDG_CACHE_HOME/libsendfd) serves the next checkout, too.
# shellcheck shell=sh
: "${CACHE:=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/libsendfd}"
: "${architectures:=amd64}"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# The mirror that this machine uses, up to debian/ or debian-security/.
mirror() {
	# shellcheck disable=SC2016 # for apt
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
		sed -n 's|^\(https*://.*/\)debian/*$|\1|p' | head -n 1
}

# Whether this machine has what it takes to ask for packages.
can_ask_for_packages() {
	have apt-get && [ -r $keyring ] && [ -n "$(mirror)" ]
}

# The directory of a suite's apt: directory_of SUITE.
directory_of() {
	printf '%s/apt/%s' "$CACHE" "$1-$(printf '%s' "$architectures" | tr ' ' -)"
}

# apt_in SUITE COMMAND...: with the packages of this suite only.
apt_in() {
	apt_directory=$(directory_of "$1")
	shift
	APT_CONFIG=$apt_directory/conf "$@"
}

configure_apt() {
	apt_directory=$(directory_of "$1") archive=debian
	case $1 in *-security) archive=debian-security ;; esac
	mkdir -p "$apt_directory/lists/partial" "$apt_directory/archives/partial" || return
	: >"$apt_directory/status"
	echo "deb [signed-by=$keyring] $(mirror)$archive $1 main" >"$apt_directory/sources.list"
	{
		apt-config dump | grep '^Acquire::' | grep -v '^Acquire::\(IndexTargets\|Languages\)'
		cat <<-end
			Dir::Etc::main "/dev/null";
			Dir::Etc::parts "/dev/null";
			Dir::Etc::sourcelist "$apt_directory/sources.list";
			Dir::Etc::sourceparts "/dev/null";
			Dir::State "$apt_directory";
			Dir::State::status "$apt_directory/status";
			Dir::Cache "$apt_directory";
			APT::Architectures { $(printf '"%s"; ' $architectures)};
			APT::Sandbox::User "root";
			APT::Update::Error-Mode "any";
			Acquire::Languages "none";
			Acquire::Retries "10";
		end
	} >"$apt_directory/conf.new" && mv "$apt_directory/conf.new" "$apt_directory/conf"
}

# has_suite SUITE: brings its package lists up to date. Status 1: the mirror has no such
# suite; 2: that could not be found out.
has_suite() {
	configure_apt "$1" || return 2
	apt_in "$1" flock "$apt_directory/status" apt-get -q update >"$apt_directory/log" 2>&1 && return
	! grep -q 'does not have a Release file' "$apt_directory/log" || return 1
	sed 's/^/# /' "$apt_directory/log"
	return 2
}
