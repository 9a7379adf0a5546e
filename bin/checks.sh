# shellcheck shell=bash
# Each part runs in its own shell with its own counts, and reports them in a file.
# shellcheck disable=SC2030,SC2031
# ./test sources this file: it runs checks, counts tests, and starts the services that checks need.

# In another user's clone (sudo ./test), git would refuse to list the project's files.
count=${GIT_CONFIG_COUNT:-0}
export GIT_CONFIG_COUNT=$((count + 1)) "GIT_CONFIG_KEY_$count=safe.directory" "GIT_CONFIG_VALUE_$count=$PWD"
unset count

passed=0 failed=0 skipped=0
started=()
lanes=()
logs=$(mktemp -d)

# Ends everything that this run has started, however the run ends.
clean_up() {
  local lane stop
  # Each lane is a separate process group.
  for lane in "${lanes[@]}"; do kill -TERM -- "-$lane" 2>/dev/null || true; done
  for lane in "${lanes[@]}"; do wait "$lane" 2>/dev/null || true; done
  for stop in "${started[@]}"; do $stop || true; done
  rm -rf "$logs"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# A scenario that was interrupted still has its hosts.
destroy_scenario() {
  [ -n "${scenario:-}" ] || return 0
  molecule destroy --scenario-name "$scenario" >/dev/null 2>&1 || true
  rm -rf "$MOLECULE_EPHEMERAL_DIRECTORY"
}

# begin_lane PART…: one lane begins with these parts, while others are still being prepared.
begin_lane() {
  printf '%s\n' "$@" >"$logs/queue"
  start_lanes 1
}

# run_in_lanes COUNT PART…: runs COUNT parts at a time, each by run_part, and then what begin_lane's
# lane has not begun yet. Then summary has all results. A part's output appears when the part has ended.
run_in_lanes() {
  local count=$1 counts
  shift
  touch "$logs/queue"
  # shellcheck disable=SC2016
  if [ $# != 0 ]; then
    flock "$logs/queue" sh -c 'printf "%s\n" "$@" | cat - "$0" >"$0.rest" && cat "$0.rest" >"$0"' "$logs/queue" "$@"
  fi
  touch "$logs/all_queued"
  start_lanes $((count - ${#lanes[@]}))
  wait "${lanes[@]}"
  lanes=()
  while read -r -a counts; do
    passed=$((passed + counts[0])) failed=$((failed + counts[1])) skipped=$((skipped + counts[2]))
  done < <(cat "$logs"/*.counts)
}

# Each lane gets its own process group, so that clean_up can end the whole lane.
start_lanes() {
  local lane
  set -m
  for ((lane = 0; lane < $1; lane++)); do
    run_lane </dev/null &
    lanes+=($!)
  done
  set +m
}

# Runs one part after the other until all are in the queue and it is empty. A part without counts has failed.
run_lane() {
  local part start last
  trap 'exit 130' TERM
  while true; do
    last=
    if [ -e "$logs/all_queued" ]; then last=1; fi
    part=$(next_part)
    if [ -z "$part" ]; then
      [ -z "$last" ] || break
      sleep 0.2
      continue
    fi
    say "$part: started"
    start=$SECONDS
    (
      trap 'exit 130' TERM
      trap destroy_scenario EXIT
      passed=0 failed=0 skipped=0 log=$logs/$part.log
      run_part "$part"
      printf '%d %d %d\n' "$passed" "$failed" "$skipped" >"$logs/$part.counts"
    ) >"$logs/$part.out" 2>&1 || true
    if [ ! -s "$logs/$part.counts" ]; then
      echo 0 1 0 >"$logs/$part.counts"
      { echo "$part ended before its time:" && reasons "$logs/$part.out"; } >>"$logs/$part.reasons"
    fi
    flock "$logs/queue" cat "$logs/$part.out"
    printf '%d %s\n' $((SECONDS - start)) "$part" >>"$logs/times"
    say "$part: ended after $((SECONDS - start)) s"
  done
}

# Prints the next part of the queue, or nothing if the queue is empty.
next_part() {
  # shellcheck disable=SC2016
  flock "$logs/queue" sh -c 'head -n 1 "$1" && tail -n +2 "$1" >"$1.rest" && cat "$1.rest" >"$1"' sh "$logs/queue"
}

# Adds up the closing lines of pytest in a log: "passed failed skipped". Errors count as failures.
count_pytest() {
  sed -nE 's/\x1b\[[0-9;]*m//g; /^=* ?[0-9]+ (passed|failed|skipped|error|xfailed|deselected|warning).* in [0-9.]+s/p' "$1" |
    awk '{ for (i = 1; i < NF; i++) if ($i ~ /^[0-9]+$/) n[$(i + 1)] += $i }
      END { for (k in n) { w = k; sub(/,$/, "", w); m[w] += n[k] }
        print m["passed"] + m["xfailed"] + 0, m["failed"] + m["error"] + m["errors"] + m["xpassed"] + 0, m["skipped"] + 0 }'
}

# Prints in a few lines why tests or tasks failed, from a log; if it finds no reason, the log's end.
reasons() {
  sed -E 's/\x1b\[[0-9;]*m//g' "$1" | awk '
    function show(line) { if (shown++ < 150) print "  " substr(line, 1, 500) }
    # Of pytest: the title of a failure, the first lines of its reason, and the short summary.
    /^_+ [^_].* _+$/ { gsub(/^_+ | _+$/, ""); title = $0; left = 12; next }
    /^E  / { if (left-- > 0) { if (title != "") show(title); title = ""; show($0) } next }
    /^(FAILED|ERROR) [^ ]/ { show($0); next }
    # Of Ansible: what a failed task returned.
    /^(fatal|failed): \[|^\[ERROR\]/ { show($0); more = 30; next }
    more > 0 && /^ / { more--; show($0); next }
    { more = 0 }
    END { exit shown == 0 }' || tail -n 15 "$1" | cut -c 1-500 | sed 's/^/  /'
}

# check TITLE COMMAND…: runs the command, counts its tests (a command without tests counts as one),
# and shows its output if it fails. With WHARFINGER_EVIDENCE, its counts are a line of full.md in that folder.
check() {
  local title=$1 log=${log:-$logs/log} start=$SECONDS status=0 counts
  shift
  say "$title"
  "$@" >"$log" 2>&1 </dev/null || status=$?
  read -r -a counts < <(count_pytest "$log")
  if [ $status != 0 ] && [ "${counts[1]}" = 0 ]; then counts[1]=1; fi
  if [ $status = 0 ] && [ "${counts[*]}" = "0 0 0" ]; then counts[0]=1; fi
  passed=$((passed + counts[0])) failed=$((failed + counts[1])) skipped=$((skipped + counts[2]))
  if [ -n "${WHARFINGER_EVIDENCE:-}" ]; then
    printf '| %s | %d | %d | %d |\n' "$title" "${counts[@]}" >>"$WHARFINGER_EVIDENCE/full.md"
  fi
  if [ $status = 0 ]; then
    say "$title: ${counts[0]} passed, ${counts[2]} skipped ($((SECONDS - start)) s)"
  else
    cat "$log"
    say "$title: FAILED with exit code $status ($((SECONDS - start)) s)"
    { echo "$title:" && reasons "$log"; } >>"$logs/${part:-}.reasons"
  fi
}

# Prints the time of each part, the longest first, and their sum, which is the time for one lane.
print_times() {
  local seconds part sum=0
  [ -s "$logs/times" ] || return 0
  while read -r seconds part; do
    printf '%4d:%02d  %s\n' $((seconds / 60)) $((seconds % 60)) "$part"
    sum=$((sum + seconds))
  done < <(sort --numeric-sort --reverse "$logs/times")
  printf '%4d:%02d  sum\n' $((sum / 60)) $((sum % 60))
}

# Repeats the reasons of all failures in a few lines, because a long log may have been cut.
print_reasons() {
  local files=("$logs"/*.reasons)
  [ -e "${files[0]}" ] || return 0
  echo "failures:"
  cat "${files[@]}"
}

summary() {
  print_reasons
  print_times
  printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
  [ "$failed" = 0 ]
}

need_command() {
  command -v "$1" >/dev/null || apt_install "${2:-$1}"
}

need_root() {
  [ "$(id -u)" = 0 ] || fail "this part needs root: start it with sudo, or run './test quick'."
}

# Installs packages whose services stay off: the tests start what they need themselves.
apt_install_stopped() {
  local policy=/usr/sbin/policy-rc.d
  if [ -e $policy ]; then
    apt_install "$@"
  else
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
    apt_install "$@"
    rm $policy
  fi
}

stop_docker() {
  start-stop-daemon --stop --quiet --retry 30 --pidfile /run/wharfinger-test-dockerd.pid --remove-pidfile
}

need_docker() {
  need_root
  docker info >/dev/null 2>&1 && return
  command -v dockerd >/dev/null || apt_install_stopped docker.io iptables
  command -v docker >/dev/null || apt_install docker-cli
  say "starting dockerd"
  start-stop-daemon --start --quiet --background --make-pidfile \
    --pidfile /run/wharfinger-test-dockerd.pid --output "$logs/dockerd" --exec "$(command -v dockerd)"
  started+=(stop_docker)
  for _ in {1..60}; do
    docker info >/dev/null 2>&1 && return
    sleep 0.5
  done
  tail -20 "$logs/dockerd"
  fail "dockerd did not start."
}

need_nginx() {
  need_root
  command -v nginx >/dev/null || apt_install_stopped nginx
  [ -e /usr/lib/nginx/modules/ngx_http_js_module.so ] || apt_install_stopped libnginx-mod-http-js
}

# Debian's own registry, which is a different release from ours.
need_foreign_registry() {
  need_root
  command -v docker-registry >/dev/null || apt_install_stopped docker-registry
}

# Debian's own httpx, with which hosts copy mirrors.
need_debians_httpx() {
  need_root
  /usr/bin/python3 -c 'import httpx' 2>/dev/null || apt_install python3-httpx
}

# restic, and the servers that its repositories are tried on.
need_repositories() {
  need_root
  need_command restic
  command -v sshd >/dev/null || apt_install_stopped openssh-server
  [ -n "${servers_are_built:-}" ] || check "repository servers are built" \
    env PYTHONPATH=".:tests/library" python -m support.servers
  servers_are_built=1
}

# Builds the two images into the cache that the tests use.
need_images() {
  build_tools
  [ -n "${images_are_built:-}" ] || check "images are built" images/build.py build \
    --architecture "$(dpkg --print-architecture)"
  images_are_built=1
}

# Makes the docker images of the test hosts.
need_test_hosts() {
  [ -n "${test_hosts_are_built:-}" ] || check "test hosts are built" molecule/shared/images.py
  test_hosts_are_built=1
}
