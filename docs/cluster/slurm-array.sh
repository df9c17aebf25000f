#!/bin/bash
# A sweep without Ray: every job of the array is a driver, and all work in one folder.
#   sbatch docs/cluster/slurm-array.sh grid.yml /shared/sweep
# Jobs may start when they like, end early or be lost. Submit it again until one of them says that everything is done.
#SBATCH --job-name=homeo-rl-sweep
#SBATCH --array=1-8
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --mem-per-cpu=2G
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

grid=${1:?"expected the sweep's file: sbatch $0 grid.yml /shared/sweep"}
out=${2:?"expected a folder that all nodes see, with flock between them: sbatch $0 grid.yml /shared/sweep"}
bin=${HOMEO_RL_BIN:-.venv/bin} # where homeo-rl is installed, seen by all nodes

# Two minutes before its time is over Slurm sends SIGTERM: running trainings save.
srun "$bin/homeo-rl" sweep "$grid" --out "$out" --workers "$SLURM_CPUS_PER_TASK"
