#!/bin/sh
# Spreads one command over an array of jobs, and puts together what they made.
#
#   submit.sh OUT N COMMAND...      submit.sh results 8 refine --seeds 0..50000 --iterations 20
#                                   submit.sh table.json 8 evaluate results --reference real.npz
#
# OUT is the folder of the results, of evaluate its table; N the number of shards; COMMAND generate, refine or evaluate with its
# flags, but without --out.
# What your site wants is said in variables that sbatch knows (SBATCH_PARTITION, SBATCH_TIMELIMIT, SBATCH_ACCOUNT, ...), or in
# lines of shard.sbatch. LAPIDARY may name the program.
set -eu
if [ $# -lt 3 ]; then
    echo "usage: submit.sh OUT N COMMAND..., such as: submit.sh results 8 refine --seeds 0..50000" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
out=$1 shards=$2
shift 2
array=$(sbatch --parsable --array="1-$shards" "$here/shard.sbatch" "$shards" "$@" --out "$out")
# The name of the cluster may stand behind the number.
array=${array%%;*}
# After all of them, whatever became of them: merge names what is missing, where a job that waits for success would wait for ever.
merge=$(sbatch --parsable --dependency="afterany:$array" "$here/merge.sbatch" "$out" "$shards")
echo "job $array makes the shards, job ${merge%%;*} puts them together"
