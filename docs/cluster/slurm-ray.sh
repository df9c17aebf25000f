#!/bin/bash
# A sweep on a Ray cluster of all nodes of a Slurm job:  sbatch docs/cluster/slurm-ray.sh grid.yml /shared/sweep
# Submit it again until it says that everything is done: finished cells stay, others go on from their checkpoints.
#SBATCH --job-name=homeo-rl-sweep
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem-per-cpu=2G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

grid=${1:?"expected the sweep's file: sbatch $0 grid.yml /shared/sweep"}
out=${2:?"expected a folder that all nodes see: sbatch $0 grid.yml /shared/sweep"}
bin=${HOMEO_RL_BIN:-.venv/bin} # where homeo-rl and ray are installed, seen by all nodes

# One token for all nodes; whoever has it can run code on them.
export RAY_AUTH_MODE=token
"$bin/ray" get-auth-token --generate > /dev/null # in the home folder, which the nodes share
export RAY_USAGE_STATS_ENABLED=0

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p) # reads all: head would end the script with SIGPIPE now and then
port=$((10000 + SLURM_JOB_ID % 20000)) # jobs of others may share the node

# The same command on every node: they find each other, the head runs the sweep, all leave when it has ended.
srun --kill-on-bad-exit=0 "$bin/ray" symmetric-run --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus "$SLURM_CPUS_PER_TASK" --object-store-memory 1000000000 -- \
  "$bin/homeo-rl" sweep "$grid" --out "$out" --ray auto
