# Shared by the scripts in this directory; sourced from the root of the repository.

# Says what is wrong and stops.
fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# One line for each member of the workspace: package, directory. Asked of cargo, so that no list can fall behind.
members() {
    # --depth 0: only the members. --prefix none: no branches before the names.
    cargo tree --workspace --depth 0 --prefix none --format '{p}' |
        sed -nE 's/^([^ ]+) v[^ ]+ \((.*)\)$/\1 \2/p'
}

# The members that users can depend on.
published() {
    members | while read -r package directory; do
        grep -q '^publish = false' "$directory/Cargo.toml" || echo "$package $directory"
    done
}

# Where cargo puts what it builds. Scripts that change RUSTFLAGS use a directory below it, since such a change rebuilds
# every dependency, and would do so again on the way back.
target=${CARGO_TARGET_DIR:-$PWD/target}
[[ $target == /* ]] || target=$PWD/$target

# Runs a command, and fails unless at least so many lines of its output match the pattern: a filter that selects nothing
# is green for ever.
expecting() {
    local least=$1 pattern=$2 output lines
    shift 2
    output=$(mktemp)
    "$@" 2>&1 | tee "$output" || fail "failed: $*"
    lines=$(grep -cE "$pattern" "$output" || true)
    rm "$output"
    ((lines >= least)) || fail "too little was selected: $lines of $least lines match '$pattern'"
}
