#!/bin/sh
# Installs the peers that the benchmarks run beside Tidemark where they are found: Redis and PostgreSQL 15 with hll from
# Debian's packages (as root, system-wide, not started), and DuckDB from npm into a folder outside the repository.
#
#   bench/peers/install.sh /opt/tidemark-peers
#   TIDEMARK_PEERS=/opt/tidemark-peers npm run bench -- http
set -eu

DUCKDB=1.5.5-r.5

if [ $# -ne 1 ]; then
  echo "usage: $0 FOLDER (outside the repository, for DuckDB)" >&2
  exit 2
fi

folder=$(realpath -m "$1")
repository=$(cd "$(dirname "$0")/../.." && pwd)
case "$folder/" in
  "$repository"/*)
    echo "$folder lies inside the repository" >&2
    exit 2
    ;;
esac
mkdir -p "$folder"

# Debian starts what it installs, unless a policy says no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
  redis-server postgresql-15 postgresql-15-hll

npm install --prefix "$folder" --no-audit --no-fund "@duckdb/node-api@$DUCKDB"
echo "Set TIDEMARK_PEERS=$folder for the benchmarks."
