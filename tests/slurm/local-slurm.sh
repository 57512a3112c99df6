#!/usr/bin/env bash
#
# local-slurm.sh - a real, throw-away SLURM cluster on this one machine.
#
#   local-slurm.sh up      install SLURM if missing, write its configuration,
#                          start munged, slurmctld and one slurmd per virtual
#                          node, wait until every node is idle.  Idempotent:
#                          on a running cluster it restarts only what has died.
#                          Exit 77: SLURM is not installed and cannot be.
#   local-slurm.sh down    cancel all jobs, stop every daemon (by pid file),
#                          and undo the changes made outside the state folder.
#   local-slurm.sh status  daemons, nodes, jobs; exit 0 = up, 3 = down, 1 = partly.
#
# The cluster: partition `cpu` (default; nodes c1..cN) and partition `gpu`
# (node g1, with pretend GPUs: scheduled, limited and named in
# CUDA_VISIBLE_DEVICES like real ones, but there is nothing behind them).
# There is no accounting database, so `sacct` does not work: ask
# `squeue --states=all` or `scontrol show job`, which remember a finished job
# for an hour, or read log/jobcomp.log in the state folder.  Memory and time
# limits are enforced; CPU limits are only counted (there are no cgroups).
#
# For Debian and Ubuntu, run as root, in a container, virtual machine or CI
# runner; needs no systemd.  The daemons listen on a loopback address only.
# Not for a machine that belongs to a real cluster: it refuses to replace a
# SLURM configuration that it did not write.
#
# Settings (environment variables), read when a stopped cluster is brought up:
#   LOCAL_SLURM_DIR      state folder            (${TMPDIR:-/tmp}/local-slurm)
#   LOCAL_SLURM_NODES    nodes in `cpu`          (2)
#   LOCAL_SLURM_CPUS     CPUs of each node       (the machine's cores)
#   LOCAL_SLURM_MEM_MB   memory of each node     (90% of the machine's, shared out)
#   LOCAL_SLURM_GPUS     pretend GPUs of g1      (1)
#   LOCAL_SLURM_PORT     first TCP port          (16817; one more for each node)
#   LOCAL_SLURM_NODE_TIMEOUT  seconds until a silent node is down (30)
#   LOCAL_SLURM_WAIT     seconds `up` waits for idle nodes        (60)

set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"

DIR=${LOCAL_SLURM_DIR:-${TMPDIR:-/tmp}/local-slurm}
NODES=${LOCAL_SLURM_NODES:-2}
CPUS=${LOCAL_SLURM_CPUS:-$(nproc --all)} # plain nproc heeds OMP_NUM_THREADS
GPUS=${LOCAL_SLURM_GPUS:-1}
PORT=${LOCAL_SLURM_PORT:-16817}
NODE_TIMEOUT=${LOCAL_SLURM_NODE_TIMEOUT:-30}
WAIT=${LOCAL_SLURM_WAIT:-60}

# The SLURM commands look here.  $SLURM_CONF would not do instead: the
# Snakemake plugin removes SLURM_* from the environment of its job steps.
LINK=/etc/slurm/slurm.conf
HOSTS=/etc/hosts
HOSTS_MARK='# added by local-slurm.sh'

set_paths() { # with the real name of the state folder, once it exists
    DIR=$(cd "$DIR" && pwd -P)
    CONF=$DIR/etc/slurm.conf
    SOCKET=$DIR/munge/socket
}

say() { printf 'local-slurm: %s\n' "$*"; }
die() { printf 'local-slurm: %s\n' "$*" >&2; exit 1; }
cannot_be_had() { printf 'local-slurm: %s\n' "$*" >&2; exit 77; }

# Without a controller the SLURM commands try for minutes; ask only briefly.
slurm() { timeout 5 "$@"; }

node_names() { # of the configuration in force, one to a line
    sed -n 's/^NodeName=\([^ ]*\) .*/\1/p' "$CONF" 2>/dev/null || true
}

# --- processes -------------------------------------------------------------

# alive NAME FILE: prints the pid in run/FILE.pid if it is a live process of
# that name.  A stale pid file must not make us take, or kill, a stranger, and
# a container's init may leave our dead daemons as zombies.
alive() {
    local pid name state
    pid=$(cat "$DIR/run/$2.pid" 2>/dev/null) || return 1
    read -r _ name state _ 2>/dev/null <"/proc/$pid/stat" || return 1
    [ "$name" = "($1)" ] && [ "$state" != Z ] && echo "$pid"
}

anything_alive() {
    local n
    alive munged munged >/dev/null || alive slurmctld slurmctld >/dev/null && return
    for n in $(node_names); do
        alive slurmd "slurmd-$n" >/dev/null && return
    done
    return 1
}

# stop NAME FILE: TERM, wait, KILL; this one process only.
stop() {
    local pid i
    if pid=$(alive "$1" "$2"); then
        kill -TERM "$pid" 2>/dev/null || true
        for i in $(seq 100); do
            alive "$1" "$2" >/dev/null || break
            [ "$i" -lt 100 ] || kill -KILL "$pid" 2>/dev/null || true
            sleep 0.1
        done
        say "stopped $2 (pid $pid)"
    fi
    rm -f "$DIR/run/$2.pid"
}

# Job step daemons outlive their slurmd.  Ours are those that hold a file of
# our state folder open.
our_stepds() {
    local comm pid
    for comm in $(grep -lx slurmstepd /proc/[0-9]*/comm 2>/dev/null || true); do
        pid=${comm#/proc/} pid=${pid%/comm}
        if find "/proc/$pid/fd" -lname "$DIR/*" 2>/dev/null | grep -q .; then
            echo "$pid"
        fi
    done
}

# --- up --------------------------------------------------------------------

install_packages() {
    local missing=0 program
    for program in slurmctld slurmd sbatch munged; do
        command -v "$program" >/dev/null || missing=1
    done
    [ "$missing" = 1 ] || return 0
    command -v apt-get >/dev/null || cannot_be_had "SLURM is not installed, and there is no apt-get"
    say "installing slurm-wlm and munge"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        slurm-wlm munge >/dev/null; } || cannot_be_had "SLURM is not installed, and apt-get cannot install it"
}

# SLURM binds to the address of the host's name (NoInAddrAny below), so that
# name has to lead to a loopback address; where it does not (containers), a
# line in /etc/hosts makes it so until `down`.
loopback_address() {
    local host=$1 try addr
    getent ahostsv4 127.0.0.1 >/dev/null ||
        die "SLURM finds no IPv4 address while the loopback interface is the only one up;" \
            "bring up another one (any will do, it is not used)"
    for try in as-it-is with-a-line; do
        addr=$(getent ahostsv4 "$host" | awk '{print $1; exit}') || true
        case $addr in
            127.*) echo "$addr"; return ;;
        esac
        [ "$try" = as-it-is ] || break
        # Rewritten in place: a container cannot replace the file.
        { echo "127.0.0.1 $host $HOSTS_MARK"; cat "$HOSTS"; } >"$DIR/hosts.new"
        cat "$DIR/hosts.new" >"$HOSTS"
    done
    die "the host name $host does not lead to a loopback address, but to $addr"
}

write_config() {
    local host addr total mem i
    mkdir -p "$DIR"/{etc,run,log,munge,state,dev}
    host=$(uname -n)
    addr=$(loopback_address "$host")
    host=${host%%.*}
    total=$(awk '/^MemTotal:/ {print int($2 / 1024)}' /proc/meminfo)
    # Shared out, so that jobs that keep to their limits cannot exhaust the
    # machine.  CPUs are not: every node claims all the cores.
    mem=${LOCAL_SLURM_MEM_MB:-$((total * 9 / 10 / (NODES + 1)))}

    # (The lines below are indented with tabs, which <<- removes.)
    cat >"$CONF" <<-CONFIG
	# Written by local-slurm.sh; overwritten by its next \`up\`.
	ClusterName=local
	SlurmctldHost=$host($addr)
	SlurmctldPort=$PORT
	SlurmUser=root
	SlurmdUser=root
	AuthType=auth/munge
	AuthInfo=socket=$SOCKET
	CredType=cred/munge
	# Listen on the loopback address only.
	CommunicationParameters=NoInAddrAny,NoCtldInAddrAny

	SlurmctldPidFile=$DIR/run/slurmctld.pid
	SlurmctldLogFile=$DIR/log/slurmctld.log
	StateSaveLocation=$DIR/state
	SlurmdPidFile=$DIR/run/slurmd-%n.pid
	SlurmdLogFile=$DIR/log/slurmd-%n.log
	SlurmdSpoolDir=$DIR/spool-%n

	# No cgroups: processes are found in /proc, memory is polled.
	ProctrackType=proctrack/linuxproc
	TaskPlugin=task/none
	JobAcctGatherType=jobacct_gather/linux
	JobAcctGatherFrequency=task=2
	JobAcctGatherParams=OverMemoryKill
	# Accept CPU and memory figures that differ from the hardware's.
	SlurmdParameters=config_overrides
	PropagateResourceLimits=NONE
	SwitchType=switch/none
	MpiDefault=none
	MailProg=/bin/true

	SelectType=select/cons_tres
	SelectTypeParameters=CR_CPU_Memory
	GresTypes=gpu
	SchedulerType=sched/backfill
	# Start jobs at once; a production cluster takes its time.
	SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=5
	# Notice failures soon, take a node back as soon as it answers.
	SlurmdTimeout=$NODE_TIMEOUT
	SlurmctldTimeout=30
	ReturnToService=2
	KillWait=5
	# squeue must remember finished jobs for longer than three of the
	# Snakemake plugin's status intervals, or the plugin turns to sacct.
	MinJobAge=3600

	# No database; a text file has the outcome of each job.
	AccountingStorageType=accounting_storage/none
	JobCompType=jobcomp/filetxt
	JobCompLoc=$DIR/log/jobcomp.log

	DefMemPerCPU=$((mem / CPUS))
	CONFIG
    for i in $(seq "$NODES"); do
        echo "NodeName=c$i NodeHostname=$host NodeAddr=$addr Port=$((PORT + i))" \
            "CPUs=$CPUS RealMemory=$mem"
    done >>"$CONF"
    cat >>"$CONF" <<-CONFIG
	NodeName=g1 NodeHostname=$host NodeAddr=$addr Port=$((PORT + NODES + 1)) CPUs=$CPUS RealMemory=$mem Gres=gpu:$GPUS
	PartitionName=cpu Nodes=c[1-$NODES] Default=YES DefaultTime=60 MaxTime=INFINITE State=UP
	PartitionName=gpu Nodes=g1 DefaultTime=60 MaxTime=INFINITE State=UP
	CONFIG

    # SLURM wants a device for each GPU, but only looks at it; the number in
    # its name becomes the one in CUDA_VISIBLE_DEVICES.
    echo "AutoDetect=off" >"$DIR/etc/gres.conf"
    for i in $(seq 0 $((GPUS - 1))); do
        ln -s /dev/null "$DIR/dev/gpu$i"
        echo "NodeName=g1 Name=gpu File=$DIR/dev/gpu$i" >>"$DIR/etc/gres.conf"
    done

    (umask 077 && head -c 128 /dev/urandom >"$DIR/munge/key")
}

up() {
    local n
    [ "$(id -u)" = 0 ] || die "must be run as root"
    install_packages
    # Parts of the folder are deleted below: be sure that it is for this only.
    if [ -n "$(ls -A "$DIR" 2>/dev/null)" ]; then
        [ -O "$DIR" ] && [ -f "$DIR/.local-slurm" ] ||
            die "$DIR exists, and is not a state folder of this script"
    fi
    mkdir -p "$DIR" "$(dirname "$LINK")"
    chmod 755 "$DIR"
    : >"$DIR/.local-slurm"
    set_paths
    [[ $DIR != *[[:space:]]* ]] || die "no blanks in the path of the state folder, please: $DIR"
    [ ${#SOCKET} -lt 100 ] || die "the path of the state folder is too long: $DIR"

    # Refuse to take over a machine that has a SLURM of its own.
    if [ -e "$LINK" ] || [ -L "$LINK" ]; then
        [ "$(readlink "$LINK")" = "$CONF" ] ||
            die "$LINK exists and is not ours: $(ls -l "$LINK")"
    fi

    if ! anything_alive; then # a fresh start, with no memory of older jobs
        rm -rf "${DIR:?}"/{etc,run,log,state,munge,dev} "$DIR"/spool-*
        write_config
    fi
    ln -sfn "$CONF" "$LINK"

    if ! alive munged munged >/dev/null; then
        rm -f "$SOCKET" "$SOCKET.lock"
        # --force: warn, not stop, at folder modes it finds too open.
        munged --force --key-file="$DIR/munge/key" --socket="$SOCKET" \
            --pid-file="$DIR/run/munged.pid" --log-file="$DIR/log/munged.log" \
            --seed-file="$DIR/munge/seed" 2>>"$DIR/log/munged.log" ||
            die "munged does not start; see $DIR/log/munged.log"
        say "started munged"
    fi
    if ! alive slurmctld slurmctld >/dev/null; then
        slurmctld -f "$CONF"
        say "started slurmctld"
    fi
    for n in $(node_names); do
        alive slurmd "slurmd-$n" >/dev/null && continue
        mkdir -p "$DIR/spool-$n"
        slurmd -f "$CONF" -N "$n"
        say "started slurmd-$n"
    done

    # Idle on a fresh start; with jobs on it, a node is as good.
    SECONDS=0
    while [ "$SECONDS" -lt "$WAIT" ]; do
        if slurm sinfo -h -N -o '%T' >"$DIR/run/states" 2>/dev/null &&
            [ -s "$DIR/run/states" ] &&
            ! grep -qvxE 'idle|mixed|allocated|completing' "$DIR/run/states"; then
            slurm sinfo -o '%9P %5a %8T %6D %8N cpus=%c mem=%m gres=%G' | sed 1d
            return 0
        fi
        # A configuration it cannot use stops slurmctld within seconds.
        alive slurmctld slurmctld >/dev/null || [ "$SECONDS" -lt 5 ] || break
        sleep 0.5
    done
    slurm sinfo -N -l >&2 || true
    { grep -h fatal "$DIR"/log/slurm*.log || grep -h error "$DIR"/log/slurm*.log; } |
        tail -n 5 >&2 || true
    die "the nodes are not idle after $SECONDS s; see $DIR/log"
}

# --- down, status ----------------------------------------------------------

down() {
    local n pid i
    if alive slurmctld slurmctld >/dev/null; then
        slurm squeue -h -o '%A' 2>/dev/null | sort -u | xargs -r timeout 5 scancel || true
        for i in $(seq 20); do # let the nodes kill and report them
            [ -n "$(slurm squeue -h 2>/dev/null)" ] || break
            sleep 0.5
        done
    fi
    for n in $(node_names); do
        stop slurmd "slurmd-$n"
    done
    stop slurmctld slurmctld
    for pid in $(our_stepds); do
        kill -KILL "$pid" 2>/dev/null || true
        say "killed a left-over slurmstepd (pid $pid)"
    done
    stop munged munged
    if [ "$(readlink "$LINK" 2>/dev/null)" = "$CONF" ]; then
        rm -f "$LINK"
    fi
    if grep -qF "$HOSTS_MARK" "$HOSTS"; then
        grep -vF "$HOSTS_MARK" "$HOSTS" >"$DIR/hosts.new" || true
        cat "$DIR/hosts.new" >"$HOSTS"
    fi
    say "down; the logs stay in $DIR/log until the next up"
}

status() {
    local n running=0 dead=0
    daemon() {
        local pid
        if pid=$(alive "$1" "$2"); then
            echo "$2: running (pid $pid)"; running=$((running + 1))
        else
            echo "$2: not running"; dead=$((dead + 1))
        fi
    }
    daemon munged munged
    daemon slurmctld slurmctld
    for n in $(node_names); do
        daemon slurmd "slurmd-$n"
    done
    [ "$running" -gt 0 ] || return 3
    slurm sinfo -N -o '%8N %9P %10T %14C %8m %8G %E' || return 1
    slurm squeue || return 1
    [ "$dead" = 0 ] || return 1
}

case ${1:-} in
    up) up ;;
    down | status)
        if [ -d "$DIR" ]; then
            set_paths
            "$1"
        else
            say "down (there is no $DIR)"
            [ "$1" = down ] || exit 3
        fi ;;
    *) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
